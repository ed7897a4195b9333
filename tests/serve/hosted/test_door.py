"""Requests for hosted models, over real connections."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI
from starlette.types import Receive, Send
from tests.serve.gateway.stub import USAGE, WORDS

from liveweights.http.exchange import Exchange
from liveweights.meter.budgets import Budget
from liveweights.meter.limits import FindPrice, Limiter, Permit
from liveweights.meter.price_book import PriceBook
from liveweights.meter.prices import EPOCH, PriceRow
from liveweights.meter.settings import RateLimits
from liveweights.meter.tenants import Tenant
from liveweights.serve.api import admission
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.hosted.breaker import FAILURES, PAUSE
from liveweights.serve.hosted.version import Version, checkpoint_id
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms
from liveweights.terms.facts import Facts, Origin
from liveweights.terms.rules import Conditions, Rule

from .stage import KEY, LONG, SHORT, STREAM, WHOLE, Fault, Stage, staged

MINE, OTHER = "mine-0123456789-a", "mine-0123456789-b"
AWAY: tuple[Fault, ...] = ("refused", "hangs", "silent", "drips", "cut", "headless", "garbage")
LATE: tuple[Fault, ...] = ("hangs", "silent", "drips")
STATUS: dict[Fault, int] = {"busy": 429, "fails": 500}


def play(act: Callable[[Stage], Awaitable[None]], *args: Any, **how: Any) -> None:
    async def run() -> None:
        async with staged(*args, **how) as stage, asyncio.timeout(120):
            await act(stage)

    asyncio.run(run())


def test_a_stream_passes_byte_for_byte_and_is_recorded_and_rated() -> None:
    async def act(stage: Stage) -> None:
        stage.servers["big"].headers = {
            "x-generation-id": "theirs",
            "x-model": "theirs",
            "x-checkpoint": "theirs",
        }
        headers = {"authorization": "Bearer callers", "x-session-id": "s1", "cookie": "a=b"}
        response, body = await stage.ask(stream=True, user="ada", headers=headers)
        assert (response.status, body) == (200, STREAM)
        assert response.headers.getall("x-model") == ["big"]
        row = stage.recorder.only()
        assert response.headers.getall("x-generation-id") == [row.id]
        assert (row.alias, row.endpoint) == ("big", "chat")
        said = checkpoint_id(stage.hosted["big"].settings.upstream, "org/big", Version("big-1"))
        assert row.checkpoint == said
        assert response.headers.getall("x-checkpoint") == [said]
        assert (row.output, row.finish_reason, row.usage) == ("".join(WORDS), "stop", USAGE)
        assert (row.user, row.session) == ("ada", "s1")
        [(path, sent, asked)] = stage.servers["big"].requests
        assert (path, asked["model"], asked["user"]) == ("/v1/chat/completions", "org/big", "ada")
        assert sent["authorization"] == f"Bearer {KEY}"
        assert "cookie" not in sent
        thumb = {"generation": row.id, "signal": "thumbs", "value": "up"}
        async with stage.client.post("/v1/feedback", json=thumb) as answer:
            assert answer.status == 201
        async with stage.client.get("/metrics") as answer:
            text = await answer.text()
        assert 'liveweights_tokens_total{kind="completion",model="big"} 6.0' in text

    play(act)


@pytest.mark.parametrize("stream", [True, False])
def test_the_time_of_an_answer_begins_before_its_upstream_is_asked(stream: bool) -> None:
    async def act(stage: Stage) -> None:
        server, times = stage.servers["big"], list[float]()
        answer = server._answer

        async def late(*args: Any, **how: Any) -> None:
            asked_at = datetime.now(UTC).timestamp(), time.perf_counter()
            await asyncio.sleep(0.05)
            times.extend((asked_at[0], (time.perf_counter() - asked_at[1]) * 1000))
            await answer(*args, **how)

        server._answer = late  # type: ignore[method-assign]
        assert (await stage.ask(stream=stream))[0].status == 200
        asked_at, waited = times
        row = stage.recorder.only()
        assert row.created_at.timestamp() <= asked_at
        assert waited <= row.first_token_ms <= row.total_ms

    play(act)


def test_each_path_for_answers_leads_to_it() -> None:
    async def act(stage: Stage) -> None:
        for path in ("chat/completions", "completions", "responses", "embeddings"):
            await stage.forget()
            response, body = await stage.ask(path, input="a", prompt="a")
            assert (response.status, body, response.headers["x-model"]) == (200, WHOLE, "big")
            assert stage.servers["big"].requests[0][0] == f"/v1/{path}"
            assert len(stage.recorder.generations) == (path != "embeddings")

    play(act)


def test_local_models_answer_as_before() -> None:
    async def act(stage: Stage) -> None:
        response, _ = await stage.ask(model="tiny")
        assert (response.status, response.headers["x-model"]) == (200, "tiny")
        assert stage.recorder.only().checkpoint.startswith("tiny@")
        assert (await stage.ask(model="none"))[0].status == 404
        assert (await stage.ask("embeddings", model="tiny"))[0].status == 400
        assert (await stage.ask(model=3))[0].status == 400
        assert stage.servers["big"].requests == []

    play(act)


def test_all_are_listed() -> None:
    async def act(stage: Stage) -> None:
        async with stage.client.get("/v1/models") as answer:
            listed = (await answer.json())["data"]
        assert [(model["id"], model["owned_by"]) for model in listed] == [
            *(("tiny", "liveweights"), ("big", "hosted")),
        ]
        async with stage.client.get("/v1/models/big") as answer:
            assert (await answer.json())["root"] == "org/big"
        async with stage.client.get("/healthz") as answer:
            assert (await answer.json())["models"]["big"]["ready"] is True

    play(act)


def test_the_keys_of_both_sides_stay_where_they_are() -> None:
    async def act(stage: Stage) -> None:
        faults: tuple[Fault, ...] = ("denied", "busy", "fails", *AWAY)
        for fault in faults:
            await stage.forget()
            await stage.servers["big"].become(fault)
            response, body = await stage.ask(headers={"authorization": "Bearer callers"})
            assert response.status >= 400
            assert KEY.encode() not in body
            assert all("callers" not in str(sent) for sent in stage.servers["big"].requests)
        await stage.forget()
        await stage.servers["big"].become("denied")
        response, body = await stage.ask()
        assert (response.status, b"no: Bearer " + b"*" * len(KEY) in body) == (401, True)
        assert stage.recorder.generations == {}

    play(act)


def test_without_a_key_the_upstream_is_shown_none() -> None:
    async def act(stage: Stage) -> None:
        await stage.ask(headers={"authorization": "Bearer callers"})
        assert "authorization" not in stage.servers["big"].requests[0][1]

    play(act, key="")


FAULTS: list[Fault] = ["none", "broken", "denied", *STATUS, *AWAY]


def expected(faults: list[Fault], *, local: bool) -> tuple[int, str | None, int]:
    """Status (0 for an answer that is cut off), who answered, and how many upstreams were
    asked."""
    for place, fault in enumerate(faults):
        name, last = "abc"[place], place == len(faults) - 1 and not local
        if fault in ("none", "denied", "broken"):
            status = {"none": 200, "denied": 401, "broken": 0}[fault]
            return status, name, place + 1
        if last and fault in STATUS:
            return STATUS[fault], name, place + 1
    return (200, "tiny", len(faults)) if local else (502, None, len(faults))


def test_faults_in_any_order_lead_to_one_answer_and_one_row() -> None:
    chains = {"a": ("b",), "b": ("c",), "c": ()}
    local = {"a": ("b",), "b": ("c",), "c": ("tiny",)}

    async def check(stage: Stage, faults: list[Fault], falls_home: bool) -> None:
        await stage.forget()
        for name, fault in zip("abc", faults, strict=True):
            await stage.servers[name].become(fault)
        status, name, asked = expected(faults, local=falls_home)
        try:
            response, body = await stage.ask(model="a", stream=True)
            got = response.status
            assert response.headers.get("x-model") == name
            if name != "tiny" and status == 200:
                assert body == STREAM
        except aiohttp.ClientPayloadError:
            got = 0
        assert got == status
        rows = list(stage.recorder.generations.values())
        assert [row.alias for row in rows] == ([name] if status in (0, 200) else [])
        if status == 0:
            assert rows[0].finish_reason == "cancelled"
        for place, other in enumerate("abc"):
            requests = stage.servers[other].requests
            if place >= asked or faults[place] == "refused":
                assert not requests
            elif faults[place] not in LATE:  # these may be given up before they are asked
                async with asyncio.timeout(60):
                    while not requests:
                        await asyncio.sleep(0.01)

    with asyncio.Runner() as runner:
        scenes = [staged(chains), staged(local)]
        stages = [runner.run(scene.__aenter__()) for scene in scenes]
        try:

            @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
            @given(st.lists(st.sampled_from(FAULTS), min_size=3, max_size=3), st.booleans())
            def any_order(faults: list[Fault], falls_home: bool) -> None:
                runner.run(check(stages[falls_home], faults, falls_home))

            any_order()
        finally:
            for scene in scenes:
                runner.run(scene.__aexit__(None, None, None))


@pytest.mark.parametrize("fault", ["broken", *AWAY, *STATUS])
def test_a_whole_answer_that_does_not_come_is_one_clear_error(fault: Fault) -> None:
    async def act(stage: Stage) -> None:
        await stage.servers["big"].become(fault)
        response, body = await stage.ask()
        assert response.status == STATUS.get(fault, 502)
        assert b'"error"' in body
        assert stage.recorder.generations == {}

    play(act)


def test_a_local_model_that_is_not_there_is_passed_over() -> None:
    async def act(stage: Stage) -> None:
        await stage.servers["big"].become("fails")
        stage.router.resident(())
        assert (await stage.ask())[0].status == 500  # the upstream's own
        await stage.servers["big"].become("refused")
        assert (await stage.ask())[0].status == 502

    play(act, {"big": ("tiny",)})


def test_an_upstream_that_fails_is_left_alone_for_a_while() -> None:
    async def act(stage: Stage) -> None:
        server, breaker = stage.servers["big"], stage.hosted["big"].breaker
        await server.become("fails")
        for _ in range(FAILURES):
            assert (await stage.ask())[0].status == 500
        await server.become("none")
        response, _ = await stage.ask()
        assert (response.status, len(server.requests)) == (502, FAILURES)
        assert 1 <= int(response.headers["retry-after"]) <= PAUSE
        async with stage.client.get("/healthz") as answer:
            assert (await answer.json())["models"]["big"]["ready"] is False
        breaker.until = 0.0
        assert (await stage.ask())[0].status == 200
        assert (await stage.ask())[0].status == 200

    play(act)


def test_a_caller_that_leaves_during_the_trial_leaves_it_to_the_next() -> None:
    async def act(stage: Stage) -> None:
        server, breaker = stage.servers["big"], stage.hosted["big"].breaker
        await server.become("hangs", timeout=LONG)
        breaker.pause, breaker.until = PAUSE, 0.0
        asking = asyncio.create_task(stage.ask(stream=True))
        while not server.requests:
            await asyncio.sleep(0.01)
        assert breaker.trying
        asking.cancel()
        while breaker.trying:
            await asyncio.sleep(0.01)
        await server.become("none")
        assert (await stage.ask())[0].status == 200

    play(act)


def test_an_answer_in_one_piece_may_take_longer_than_a_first_byte() -> None:
    async def act(stage: Stage) -> None:
        server, breaker = stage.servers["big"], stage.hosted["big"].breaker
        msgspec.structs.force_setattr(server.settings, "timeout", SHORT)
        server.computing = 3 * SHORT
        assert (await stage.ask())[0].status == 200
        assert (len(server.requests), breaker.failures) == (1, 0)
        assert (await stage.ask(stream=True))[0].status == 502
        assert breaker.failures == 1

    play(act)


def test_what_was_left_out_is_named() -> None:
    async def act(stage: Stage) -> None:
        response, _ = await stage.ask(plugins=[{"id": "web"}], service_tier="priority", top_k=3)
        assert response.headers["x-ignored-parameters"] == "plugins, service_tier"
        response, _ = await stage.ask()
        assert "x-ignored-parameters" not in response.headers

    play(act)


def test_limits_count_a_request_once_whoever_answers() -> None:
    async def act(stage: Stage) -> None:
        headers = {"authorization": f"Bearer {MINE}"}
        response, _ = await stage.ask(headers=headers)
        assert response.headers["x-ratelimit-remaining-requests"] == "2"
        await stage.servers["big"].become("fails")
        response, _ = await stage.ask(headers=headers)
        assert response.headers["x-model"] == "tiny"
        assert response.headers["x-ratelimit-remaining-requests"] == "1"
        await stage.ask(headers=headers)
        assert (await stage.ask(headers=headers))[0].status == 429
        assert (await stage.ask())[0].status == 401

    limits = RateLimits(requests_per_minute=3, concurrency=1)
    play(act, {"big": ("tiny",)}, settings=ApiSettings(keys={MINE: "us"}, limits=limits))


def test_a_tenant_cannot_name_what_another_keeps_at_the_upstream() -> None:
    async def act(stage: Stage) -> None:
        async def ask(key: str, id: str) -> int:
            headers = {"authorization": f"Bearer {key}"}
            asked = {"previous_response_id": id, "input": "a", "headers": headers}
            return (await stage.ask("responses", **asked))[0].status

        access = stage.hosted["big"].access
        assert access is not None
        await access.owners.remember("us", [("responses", "resp_1")])
        assert await ask(MINE, "resp_1") == 200
        assert await ask(OTHER, "resp_1") == 404
        # Another upstream cannot know it.
        await stage.servers["big"].become("fails")
        assert await ask(MINE, "resp_1") == 500

    play(act, {"big": ("tiny",)}, settings=ApiSettings(keys={MINE: "us", OTHER: "them"}))


def test_the_official_client_meets_both_kinds() -> None:
    async def act(stage: Stage) -> None:
        hi: list[Any] = [{"role": "user", "content": "hi"}]
        async with AsyncOpenAI(base_url=stage.url, api_key="any", max_retries=0) as client:
            assert {model.id async for model in client.models.list()} == {"tiny", "big"}
            for name, text in (("tiny", "hello"), ("big", "Paris")):
                answer = await client.chat.completions.create(model=name, messages=hi)
                assert answer.choices[0].message.content == text
            stream = await client.chat.completions.create(model="big", messages=hi, stream=True)
            said = [c.choices[0].delta.content or "" async for c in stream if c.choices]
            assert "".join(said) == "".join(WORDS)
        assert [row.alias for row in stage.recorder.generations.values()] == ["tiny", "big", "big"]

    play(act)


def test_the_id_covers_what_the_upstream_reports() -> None:
    async def act(stage: Stage) -> None:
        server, model = stage.servers["big"], stage.hosted["big"]
        upstream = model.settings.upstream
        assert model.checkpoint == checkpoint_id(upstream, "org/big")
        for fingerprint in ("fp_1", "fp_2"):
            server.fingerprint = fingerprint
            said = checkpoint_id(upstream, "org/big", Version("big-1", fingerprint))
            for stream in (False, True):
                await stage.forget()
                response, _ = await stage.ask(stream=stream)
                assert response.headers["x-checkpoint"] == said
                assert stage.recorder.only().checkpoint == said
        async with stage.client.get("/v1/models/big") as answer:
            assert (await answer.json())["checkpoint"] == said

    play(act)


@pytest.mark.parametrize("pieces", [(b"",), (b": wait\n\n",), (b"data: {", b'"model": "big-')])
def test_a_stream_that_begins_otherwise_passes_as_it_is(pieces: tuple[bytes, ...]) -> None:
    """The version may come in pieces, or late: then only the record has it."""

    async def act(stage: Stage) -> None:
        cut = STREAM.index(b'"big-1"') + len(b'"big-')
        whole = pieces[0].startswith(b"data")
        stage.servers["big"].pieces = [STREAM[:cut], STREAM[cut:]] if whole else [*pieces, STREAM]
        response, body = await stage.ask(stream=True)
        assert body == (STREAM if whole else b"".join([*pieces, STREAM]))
        said = checkpoint_id(stage.hosted["big"].settings.upstream, "org/big", Version("big-1"))
        assert stage.recorder.only().checkpoint == said
        assert response.headers.get("x-checkpoint", said) == said
        assert ("x-checkpoint" in response.headers) == (pieces != (b": wait\n\n",))

    play(act)


def candidate(name: str, country: str, **more: Any) -> Candidate:
    origin = Origin(name=f"o/{name}", country=country, licence="MIT", licence_kind="open")
    return Candidate(facts=Facts(name=name, origins=(origin,)), input=1, output=1, **more)


NO_CN = Rule(
    name="no-cn", when=("route",), on=Conditions(country=("CN",)), then="deny", reason="no"
)


def test_terms_and_routes_choose_among_both_kinds() -> None:
    async def act(stage: Stage) -> None:
        async def ask(model: str, **route: Any) -> tuple[int, str | None]:
            response, _ = await stage.ask(model=model, route=route)
            return response.status, response.headers.get("x-model")

        assert await ask("big") == (200, "tiny")  # terms deny it, and the other stands in
        assert await ask("big", fallback=[]) == (403, None)
        assert await ask("small") == (200, "small")
        assert await ask("auto", deny={"countries": ["US"]}) == (200, "tiny")
        assert await ask("auto", local_only=True) == (200, "tiny")
        assert await ask("small", local_only=True) == (422, None)
        assert await ask("small", local_only=True, fallback=["tiny"]) == (200, "tiny")
        assert await ask("small", locl_only=True) == (400, None)
        assert stage.servers["big"].requests == []
        assert "route" not in stage.servers["small"].requests[0][2]
        stage.router.resident(())
        assert await ask("tiny", fallback=["small"]) == (200, "small")
        assert await ask("tiny") == (503, None)

    models = [
        candidate("big", "CN", fallback=("tiny",)),
        candidate("small", "US"),
        candidate("tiny", "FR", local=True),
    ]
    play(act, {"big": ("tiny",), "small": ()}, terms=Terms(models, [NO_CN]))


def test_auto_is_hosted_where_no_other_can_do_what_is_asked() -> None:
    picture = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    seen = [{"role": "user", "content": [picture]}]

    async def act(stage: Stage) -> None:
        response, _ = await stage.ask(model="auto")
        assert response.headers["x-model"] == "tiny"
        response, _ = await stage.ask(model="auto", messages=seen)
        assert response.headers["x-model"] == "big"
        [(_, _, asked)] = stage.servers["big"].requests
        assert asked["messages"] == seen
        response, body = await stage.ask(model="auto", messages=seen, tools=[{"type": "x"}])
        assert response.status == 422
        assert b"needs.tools removed big (it is not known whether it calls tools)" in body
        assert b"needs.vision removed tiny (it sees no images)" in body

    models = [
        candidate("big", "CN", can={"vision": True}),
        candidate("tiny", "FR", can={"vision": False, "tools": True}),
    ]
    models[1] = replace(models[1], input=0.5)
    play(act, {"big": ()}, terms=Terms(models))


def test_who_asks_is_looked_up_once_whoever_answers() -> None:
    async def act(stage: Stage) -> None:
        for number, model in enumerate(("tiny", "big", "none", "tiny"), 1):
            await stage.ask(model=model)
            assert stage.authenticator.asked == number

    play(act)


def test_a_key_that_is_used_up_is_told_before_its_body_is_looked_at() -> None:
    async def act(stage: Stage) -> None:
        headers = {"authorization": f"Bearer {MINE}"}
        assert (await stage.ask(model="tiny", headers=headers))[0].status == 200
        response, _ = await stage.ask(model="tiny", route=3, headers=headers)
        assert response.status == 429

    limits = RateLimits(requests_per_minute=1, concurrency=1)
    play(act, settings=ApiSettings(keys={MINE: "us"}, limits=limits))


def test_models_come_and_go_and_who_asked_before_is_answered() -> None:
    async def act(stage: Stage) -> None:
        big = stage.hosted["big"]
        stage.models.remove("big")
        assert (await stage.ask())[0].status == 404
        stage.models.put(big)
        await stage.servers["big"].become("hangs", timeout=2)
        asking = asyncio.create_task(stage.ask())
        while not stage.servers["big"].requests:
            await asyncio.sleep(0.01)
        stage.models.remove("big")
        draining = asyncio.create_task(stage.models.drained(big))
        await asyncio.sleep(0)
        assert not draining.done()
        assert (await asking)[0].status == 502  # in its own time
        await draining
        async with stage.client.get("/v1/models") as answer:
            assert [one["id"] for one in (await answer.json())["data"]] == ["tiny"]

    play(act)


def per_token(nanos: Mapping[str, int]) -> FindPrice:
    """So much for each token of these models; the others cost nothing."""
    rows = [
        PriceRow(id=number, since=EPOCH, model=model, input=each * 10**6, output=each * 10**6)
        for number, (model, each) in enumerate(nanos.items(), 1)
    ]
    return PriceBook(rows).find


def test_a_model_that_has_spent_its_budget_leaves_answering_to_its_fallback() -> None:
    budget = Budget(period="day", nanos=60)  # a request is taken for 24 to 44

    async def act(stage: Stage) -> None:
        async def ask(**body: Any) -> tuple[int, str | None]:
            response, _ = await stage.ask(max_tokens=20, **body)
            return response.status, response.headers.get("x-model")

        assert await ask() == (200, "big")
        # What it did not use came back, and what it used did not.
        assert await ask() == (200, "big")
        while (answer := await ask())[1] == "big":
            assert len(stage.servers["big"].requests) < 100
        assert answer == (200, "tiny")
        asked = len(stage.servers["big"].requests)
        assert await ask(stream=True) == (200, "tiny")
        assert len(stage.servers["big"].requests) == asked
        response, body = await stage.ask(max_tokens=20, route={"fallback": []})
        assert (response.status, b"insufficient_quota" in body) == (429, True)
        assert b"The model's budget for the day is spent. A new one begins at" in body
        assert len(stage.recorder.generations) == asked + 2

    limiter = Limiter(RateLimits(), {}, find_price=per_token({"big": 1}))
    models = [candidate("big", "FR", fallback=("tiny",)), candidate("tiny", "FR")]
    more = {"budgets": (budget,)}
    play(act, {"big": ("tiny",)}, terms=Terms(models), limiter=limiter, more=more)


def test_embeddings_are_charged_by_what_was_read() -> None:
    """What the upstream counted, ``USAGE``; where it did not, an estimate."""
    read = USAGE["prompt_tokens"]

    async def act(stage: Stage) -> None:
        headers = {"authorization": f"Bearer {MINE}"}

        async def ask(input: Any) -> int:
            response, body = await stage.ask("embeddings", input=input, headers=headers)
            assert response.status == 200 or b"insufficient_quota" in body
            return response.status

        assert await ask("abcd") == 200
        assert await ask(["abcd" * 100, "abcd" * 101]) == 429
        assert await ask([[1] * 100, [2] * 101]) == 429
        assert len(stage.servers["big"].requests) == 1
        assert stage.recorder.generations == {}
        while await ask("abcd") == 200:
            assert len(stage.servers["big"].requests) <= 200 // read + 1
        assert len(stage.servers["big"].requests) == 200 // read

    budgets = (Budget(period="day", nanos=200),)
    tenant = Tenant(name="us", created_at=datetime.now(UTC), budgets=budgets)
    limiter = Limiter(
        RateLimits(), {}, find_price=per_token({"big": 1}), find_tenant=lambda _: tenant
    )
    play(act, settings=ApiSettings(keys={MINE: "us"}), limiter=limiter)


def test_embeddings_spend_the_models_own_budget() -> None:
    async def act(stage: Stage) -> None:
        assert (await stage.ask("embeddings", input="abcd" * 61))[0].status == 429
        while (await stage.ask("embeddings", input="abcd"))[0].status == 200:
            assert len(stage.servers["big"].requests) < 60
        assert len(stage.servers["big"].requests) == 60 // USAGE["prompt_tokens"]

    limiter = Limiter(RateLimits(), {}, find_price=per_token({"big": 1}))
    play(act, limiter=limiter, more={"budgets": (Budget(period="all", nanos=60),)})


def test_a_model_that_is_asked_in_vain_has_its_money_back() -> None:
    async def act(stage: Stage) -> None:
        await stage.servers["big"].become("fails")
        for _ in range(FAILURES - 1):
            response, _ = await stage.ask(max_tokens=20)
            assert response.headers["x-model"] == "tiny"
        await stage.servers["big"].become("none")
        assert (await stage.ask(max_tokens=20))[0].headers["x-model"] == "big"

    limiter = Limiter(RateLimits(), {}, find_price=per_token({"big": 1}))
    more = {"budgets": (Budget(period="all", nanos=60),)}
    play(act, {"big": ("tiny",)}, limiter=limiter, more=more)


def test_a_key_without_money_for_the_dear_model_is_answered_by_a_cheaper_one() -> None:
    async def act(stage: Stage) -> None:
        async def ask(**body: Any) -> tuple[int, str | None]:
            headers = {"authorization": f"Bearer {MINE}"}
            response, _ = await stage.ask(max_tokens=100, headers=headers, **body)
            return response.status, response.headers.get("x-model")

        assert await ask(model="dear") == (200, "cheap")
        assert await ask(model="dear", route={"fallback": []}) == (429, None)
        assert stage.servers["dear"].requests == []
        assert await ask(model="cheap") == (200, "cheap")

    daily = (Budget(period="day", nanos=5000),)
    tenant = Tenant(name="us", created_at=datetime.now(UTC), budgets=daily)
    limiter = Limiter(
        RateLimits(),
        {},
        find_price=per_token({"dear": 100, "cheap": 1}),
        find_tenant=lambda _: tenant,
    )
    models = [
        candidate("dear", "FR", fallback=("cheap", "tiny")),
        candidate("cheap", "FR"),
        candidate("tiny", "FR"),
    ]
    play(
        act,
        {"dear": ("cheap", "tiny"), "cheap": ()},
        settings=ApiSettings(keys={MINE: "us"}),
        terms=Terms(models),
        limiter=limiter,
    )


def test_an_upstream_with_quirks_is_asked_in_its_own_way() -> None:
    async def act(stage: Stage) -> None:
        said = [{"role": "developer", "content": "Be short."}, {"role": "user", "content": "hi"}]
        asked = {"max_completion_tokens": 5, "metadata": {"a": "b"}, "user": "ada"}
        response, _ = await stage.ask(messages=said, **asked)
        assert response.status == 200
        [(_, headers, sent)] = stage.servers["big"].requests
        assert sent == {
            "model": "org/big",
            "messages": [{"role": "system", "content": "Be short."}, said[1]],
            "max_tokens": 5,
            "user": "ada",
        }
        assert headers["api-key"] == KEY
        assert "authorization" not in headers
        row = stage.recorder.only()
        assert "developer" in row.prompt  # as it was asked

    quirks = ("max_tokens", "system_role", "no_metadata", "api_key_header")
    play(act, more={"quirks": quirks})


def test_an_answer_that_takes_for_ever_ends_at_the_deadline() -> None:
    event = STREAM[: STREAM.index(b"\n\n") + 2]

    async def act(stage: Stage) -> None:
        stage.servers["big"].pieces = [b": wait\n\n", *[b": still\n\n"] * 500]
        with pytest.raises(aiohttp.ClientPayloadError):
            await stage.ask(stream=True)
        stage.servers["big"].pieces = [event, *[b": still\n\n"] * 500]
        with pytest.raises(aiohttp.ClientPayloadError):
            await stage.ask(stream=True)
        assert [row.finish_reason for row in stage.recorder.generations.values()][-1] == "cancelled"
        await stage.servers["big"].become("hangs", timeout=LONG)
        response, body = await stage.ask(headers={"x-request-timeout": "0.1"})
        assert (response.status, b"deadline_exceeded" in body) == (408, True)
        response, _ = await stage.ask(headers={"x-request-timeout": "soon"})
        assert response.status == 400

    play(act, settings=ApiSettings(deadline_seconds=3))


def test_the_local_model_that_answers_instead_has_the_time_that_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ends: list[float] = []

    class Noted(Exchange):
        def __init__(
            self, receive: Receive, send: Send, deadline: float, permit: Permit, **how: Any
        ) -> None:
            ends.append(deadline)
            super().__init__(receive, send, deadline, permit, **how)

    monkeypatch.setattr(admission, "Exchange", Noted)

    async def act(stage: Stage) -> None:
        await stage.servers["big"].become("hangs")
        response, _ = await stage.ask(headers={"x-request-timeout": "60"})
        assert response.headers["x-model"] == "tiny"
        # The request had come before its upstream was asked.
        assert [end <= stage.servers["big"].asked_at + 60 for end in ends] == [True]

    play(act, {"big": ("tiny",)})


@pytest.mark.parametrize("path", ["chat/completions", "embeddings"])
def test_what_cannot_be_read_is_not_passed_on_where_it_is_charged(path: str) -> None:
    body = b'{"model": "big", "typical_p": 1e999}'

    async def act(stage: Stage) -> None:
        headers = {"content-type": "application/json"}
        async with stage.client.post(f"/v1/{path}", data=body, headers=headers) as response:
            assert response.status == 400
        assert not stage.servers["big"].requests

    play(act)


@pytest.mark.parametrize("path", ["chat/completions", "embeddings"])
def test_half_of_a_surrogate_pair_is_passed_on_as_what_stands_for_it(path: str) -> None:
    """As clients in JavaScript cut a text."""
    message = rb'{"role": "user", "content": "cut \ud83d \ud83d\ude00 \\ud83d"}'
    body = rb'{"model": "big", "user": "\ude00", "messages": [' + message + b"]}"

    async def act(stage: Stage) -> None:
        headers = {"content-type": "application/json"}
        async with stage.client.post(f"/v1/{path}", data=body, headers=headers) as response:
            assert response.status == 200
        asked = stage.servers["big"].requests[-1][2]
        assert asked["user"] == "\ufffd"
        assert asked["messages"][0]["content"] == "cut \ufffd \U0001f600 \\ud83d"
        for row in stage.recorder.generations.values():
            assert row.user == "\ufffd"
            assert r"cut \ufffd" in row.prompt

    play(act)


def test_a_hosted_model_makes_no_answer_in_the_background() -> None:
    async def act(stage: Stage) -> None:
        response, body = await stage.ask("responses", input="hi", background=True)
        assert (response.status, b"background" in body) == (400, True)
        assert not stage.servers["big"].requests

    play(act)
