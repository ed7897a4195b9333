"""``GET /v1/key``: what is left for the key."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tests.meter.stored import stored

from liveweights.meter.budgets import Budget
from liveweights.meter.keys import Keys, digest_of
from liveweights.meter.price_book import PriceBook
from liveweights.meter.prices import EPOCH, PriceRow
from liveweights.meter.rights import Rights
from liveweights.meter.secret import make_key
from liveweights.meter.settings import RateLimits
from liveweights.meter.tenants import Tenant
from liveweights.serve.api.app import make_limiter
from liveweights.serve.api.settings import ApiSettings

from .doubles import TEMPLATE, Api, make_api
from .transcripts import TRANSCRIPTS

NOW = datetime(2026, 3, 15, 12, tzinfo=UTC)
ACME = Tenant(name="acme", created_at=NOW, currency="EUR", credit=10_000)
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "max_tokens": 10}


MILLION = 10**6
PRICE = PriceRow(
    id=1,
    since=EPOCH,
    model="tiny",
    tenant="acme",
    currency="EUR",
    input=10 * MILLION,
    output=100 * MILLION,
    reasoning=100 * MILLION,
)


def make(
    text: str = "hello", price: PriceRow = PRICE, template: str | None = None, **rights: Any
) -> tuple[Api, dict[str, str]]:
    key = make_key("abcdefgh")
    keys = Keys({}, required=True)
    keys.replace([stored(key, "abcdefgh", rights=Rights(**rights))])
    settings = ApiSettings(require_keys=True)
    limiter = make_limiter(
        settings,
        find_tenant={"acme": ACME}.get,
        find_price=PriceBook([price]).find,
        today=lambda: NOW,
    )
    api = make_api(text, settings=settings, keys=keys, limiter=limiter, chat_template=template)
    return api, {"authorization": f"Bearer {key}"}


def test_a_key_of_the_settings_file_may_ask_too() -> None:
    key = "right-0123456789"
    settings = ApiSettings(keys={key: "acme"}, limits=RateLimits(requests_per_minute=3))
    answer = make_api(settings=settings).call("GET", "/v1/key", authorization=f"Bearer {key}")
    assert answer.json() == {
        "object": "key",
        "tenant": "acme",
        "key": digest_of(key)[:8],
        "uses": [],
        "models": [],
        "endpoints": [],
        "route": {},
        "limits": [{"name": "requests", "most": 3, "left": 3}],
        "budgets": [],
    }
    assert make_api(settings=settings).call("GET", "/v1/key").status == 401


def test_what_an_answer_cost_is_not_left_any_more() -> None:
    async def run() -> None:
        api, headers = make(
            uses=("answers",),
            models=("tiny",),
            limits=RateLimits(concurrency=2, tokens_per_minute=1000),
            budgets=(Budget(period="month", nanos=5000),),
        )

        async def state() -> Any:
            return (await api.acall("GET", "/v1/key", **headers)).json()

        before = await state()
        assert before["limits"] == [
            {"name": "tokens", "most": 1000, "left": 1000},
            {"name": "concurrency", "most": 2, "left": 2},
        ]
        assert (before["uses"], before["models"]) == (["answers"], ["tiny"])
        answer = await api.acall("POST", "/v1/chat/completions", CHAT, **headers)
        usage = answer.json()["usage"]
        cost = 10 * usage["prompt_tokens"] + 100 * usage["completion_tokens"]
        after = await state()
        assert after["limits"][0]["left"] == 1000 - usage["total_tokens"]
        assert after["limits"][1]["left"] == 2
        month, credit = after["budgets"]
        assert month == {
            "of": "key",
            "period": "month",
            "currency": "EUR",
            "nanos": 5000,
            "used_nanos": cost,
            "left_nanos": 5000 - cost,
            "resets_at": "2026-04-01T00:00:00Z",
        }
        assert (credit["of"], credit["period"], credit["left_nanos"]) == (
            "tenant",
            "credit",
            10_000 - cost,
        )
        assert credit["resets_at"] is None

    asyncio.run(run())


def test_an_answer_that_may_cost_more_than_is_left_is_not_begun() -> None:
    async def run() -> None:
        api, headers = make(budgets=(Budget(period="all", nanos=1500),))
        for tokens, status in ((64, 429), (10, 200), (1, 200), (10, 429)):
            body = CHAT | {"max_tokens": tokens}
            answer = await api.acall("POST", "/v1/chat/completions", body, **headers)
            assert answer.status == status, (tokens, answer.body)
        assert answer.error()["code"] == "insufficient_quota"
        assert len(api.recorder.generations) == 2

    asyncio.run(run())


def test_several_choices_cost_their_prompt_once_and_a_failed_answer_nothing() -> None:
    async def run() -> None:
        api, headers = make(budgets=(Budget(period="all", nanos=9000),))
        answer = await api.acall("POST", "/v1/chat/completions", CHAT | {"n": 3}, **headers)
        usage = answer.json()["usage"]
        cost = 10 * usage["prompt_tokens"] + 100 * usage["completion_tokens"]
        api.engine.fail_at = 0
        assert (await api.acall("POST", "/v1/chat/completions", CHAT, **headers)).status == 503
        state = (await api.acall("GET", "/v1/key", **headers)).json()
        assert state["budgets"][0]["used_nanos"] == cost
        assert state["budgets"][0]["left_nanos"] == 9000 - cost

    asyncio.run(run())


def test_thought_is_reserved_at_the_dearer_price_and_charged_at_its_own() -> None:
    """Before an answer nobody knows how much of it will be thought."""
    one = TRANSCRIPTS["quoting"]
    for output, reasoning in ((1, 40), (40, 1)):
        price = replace(PRICE, output=output * MILLION, reasoning=reasoning * MILLION)

        async def run(price: PriceRow = price, output: int = output, each: int = reasoning) -> None:
            budget = Budget(period="all", nanos=9000)
            template = TEMPLATE + one.template
            api, headers = make(one.answer, price, template, budgets=(budget,))

            async def ask(tokens: int) -> Any:
                body = CHAT | {"max_tokens": tokens}
                return await api.acall("POST", "/v1/chat/completions", body, **headers)

            assert (await ask(300)).status == 429
            answer = await ask(200)
            assert answer.status == 200, answer.body
            usage = answer.json()["usage"]
            thought = usage["completion_tokens_details"]["reasoning_tokens"]
            said = usage["completion_tokens"] - thought
            assert min(thought, said) > 0
            state = (await api.acall("GET", "/v1/key", **headers)).json()
            cost = 10 * usage["prompt_tokens"] + output * said + each * thought
            assert state["budgets"][0]["used_nanos"] == cost
            assert state["budgets"][0]["left_nanos"] == 9000 - cost

        asyncio.run(run())


def test_several_choices_cost_one_request() -> None:
    async def run() -> None:
        price = replace(PRICE, request=500)
        api, headers = make(price=price, budgets=(Budget(period="all", nanos=9000),))
        answer = await api.acall("POST", "/v1/chat/completions", CHAT | {"n": 3}, **headers)
        usage = answer.json()["usage"]
        cost = 10 * usage["prompt_tokens"] + 100 * usage["completion_tokens"] + 500
        state = (await api.acall("GET", "/v1/key", **headers)).json()
        assert (answer.status, state["budgets"][0]["used_nanos"]) == (200, cost)

    asyncio.run(run())
