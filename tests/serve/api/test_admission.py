from __future__ import annotations

import asyncio
from typing import Any

import pytest

from liveweights.meter.settings import RateLimits
from liveweights.serve.api.settings import ApiSettings

from .doubles import BASE, Answer, Api, make_api

BODY = {"model": "tiny", "prompt": "say:", "max_tokens": 10}
ONE, TWO, BIG = "one-0123456789-a", "two-0123456789-a", "big-0123456789-a"
KEYS = {ONE: "acme", TWO: "acme", BIG: "huge"}


def ask(api: Api, key: str = ONE, **more: Any) -> Answer:
    return api.call("POST", "/v1/completions", BODY | more, authorization=f"Bearer {key}")


def test_token_limits_are_told_and_kept_per_key() -> None:
    limits = RateLimits(tokens_per_minute=50, requests_per_minute=100)
    settings = ApiSettings(keys=KEYS, limits=limits, tenant_limits={"huge": RateLimits()})
    api = make_api("hello", settings=settings)
    first = ask(api)
    assert first.status == 200
    assert first.headers["x-ratelimit-limit-tokens"] == "50"
    assert first.headers["x-ratelimit-remaining-requests"] == "99"
    # Ten were used of the fourteen that were asked for.
    assert ask(api).headers["x-ratelimit-remaining-tokens"] == "26"
    answer = ask(api, max_tokens=100)
    assert answer.status == 429
    assert answer.error()["code"] == "rate_limit_exceeded"
    assert int(answer.headers["retry-after"]) > 1
    assert len(api.engine.calls) == 2
    assert ask(api, TWO).status == 200
    unlimited = ask(api, BIG, max_tokens=400)
    assert unlimited.status == 200
    assert not any(name.startswith("x-ratelimit") for name in unlimited.headers)
    metrics = api.call("GET", "/metrics", None, authorization=f"Bearer {ONE}").body
    assert b'liveweights_refused_requests_total{limit="tokens"} 1.0' in metrics


def blocked(settings: ApiSettings) -> tuple[Api, asyncio.Event]:
    """An engine that answers nothing before the event."""
    go = asyncio.Event()
    return make_api("hello", settings=settings, pause=go.wait), go


def start(api: Api, **more: Any) -> asyncio.Task[Answer]:
    return asyncio.create_task(api.acall("POST", "/v1/completions", BODY, **more))


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_the_queue_is_bounded_and_in_order() -> None:
    async def scenario() -> None:
        api, go = blocked(ApiSettings(max_running=1, max_waiting=2))
        tasks = [start(api) for _ in range(3)]
        await settle()
        assert api.engine.open == 1
        refused = await start(api)
        assert refused.status == 429
        assert refused.error()["type"] == "queue"
        assert "retry-after" in refused.headers
        metrics = (await api.acall("GET", "/metrics")).body
        assert b"liveweights_waiting_requests 2.0" in metrics
        assert b"liveweights_running_answers 1.0" in metrics
        go.set()
        assert [(await task).status for task in tasks] == [200] * 3
        assert api.router.in_use(BASE) == 0

    asyncio.run(scenario())


def test_who_leaves_the_queue_is_never_computed() -> None:
    async def scenario() -> None:
        api, go = blocked(ApiSettings(max_running=1))
        first, hang_up = start(api), asyncio.Event()
        await settle()
        second = start(api, hang_up=hang_up)
        third = start(api)
        await settle()
        hang_up.set()
        left = await second
        assert (left.status, left.body) == (0, b"")
        go.set()
        assert [(await task).status for task in (first, third)] == [200, 200]
        assert len(api.engine.calls) == 2
        assert api.router.in_use(BASE) == 0

    asyncio.run(scenario())


def test_who_leaves_frees_the_slot_for_the_next() -> None:
    async def scenario() -> None:
        steps = asyncio.Semaphore(2)
        api = make_api("hello", settings=ApiSettings(max_running=1), pause=steps.acquire)
        hang_up = asyncio.Event()
        first = start(api, hang_up=hang_up)
        second = start(api)
        await settle()
        hang_up.set()
        await first
        for _ in range(10):
            steps.release()
        assert (await second).status == 200
        kept = {g.finish_reason: g.output for g in api.recorder.generations.values()}
        assert kept == {"cancelled": "he", "stop": "hello"}

    asyncio.run(scenario())


def test_a_deadline_ends_waiting_and_computing() -> None:
    async def scenario() -> None:
        api, go = blocked(ApiSettings(max_running=1, deadline_seconds=60))
        computing, waiting = (start(api, x_request_timeout="0.05") for _ in range(2))
        for task in (computing, waiting):
            answer = await task
            assert answer.status == 408
            assert answer.error()["code"] == "deadline_exceeded"
        go.set()
        assert (await start(api)).status == 200
        assert (api.engine.open, api.router.in_use(BASE)) == (0, 0)

    asyncio.run(scenario())


def test_a_deadline_in_a_stream_is_an_event_and_what_was_seen_is_recorded() -> None:
    async def scenario() -> None:
        steps = asyncio.Semaphore(2)
        api = make_api("hello", pause=steps.acquire)
        body = BODY | {"stream": True}
        answer = await api.acall("POST", "/v1/completions", body, x_request_timeout="2")
        assert answer.status == 200
        assert answer.events()[-1]["error"]["code"] == "deadline_exceeded"
        generation = api.recorder.only()
        assert (generation.output, generation.finish_reason) == ("he", "cancelled")

    asyncio.run(scenario())


@pytest.mark.parametrize("said", ["0", "-1", "soon", "nan", "inf"])
def test_a_deadline_is_a_number(said: str) -> None:
    answer = make_api().call("POST", "/v1/completions", BODY, x_request_timeout=said)
    assert answer.status == 400
    assert answer.error()["param"] == "x-request-timeout"


def test_concurrency_is_per_key() -> None:
    async def scenario() -> None:
        settings = ApiSettings(keys=KEYS, limits=RateLimits(concurrency=1))
        api, go = blocked(settings)
        first = start(api, authorization=f"Bearer {ONE}")
        await settle()
        refused = await start(api, authorization=f"Bearer {ONE}")
        assert (refused.status, refused.error()["type"]) == (429, "concurrency")
        other = start(api, authorization=f"Bearer {TWO}")
        go.set()
        assert (await first).status == (await other).status == 200
        assert (await start(api, authorization=f"Bearer {ONE}")).status == 200

    asyncio.run(scenario())


def limited(**limits: int) -> Api:
    return make_api("hello", settings=ApiSettings(keys=KEYS, limits=RateLimits(**limits)))


def call(api: Api, method: str, path: str, body: Any = None, key: str = ONE) -> int:
    answer = api.call(method, path, body, authorization=f"Bearer {key}")
    if answer.status == 429:
        assert answer.error()["code"] == "rate_limit_exceeded"
        assert "retry-after" in answer.headers
    return answer.status


def test_every_path_has_its_limit() -> None:
    reaction = {"generation": "g", "signal": "accepted"}
    api = limited(feedback_per_minute=3, reads_per_minute=2, requests_per_minute=2)
    assert call(api, "POST", "/v1/feedback", reaction) == 404
    assert call(api, "POST", "/v1/feedback", {"feedback": [reaction] * 3}) == 429
    assert call(api, "POST", "/v1/feedback", {"feedback": [reaction] * 2}) == 422
    assert call(api, "POST", "/v1/feedback", reaction) == 429
    assert call(api, "GET", "/v1/models") == 200
    assert call(api, "GET", "/v1/responses/x") == 404
    for method, path in (
        ("GET", "/v1/models"),
        ("GET", "/v1/models/tiny"),
        ("GET", "/v1/responses/x"),
        ("DELETE", "/v1/responses/x"),
    ):
        assert call(api, method, path) == 429
    assert call(api, "POST", "/v1/completions", BODY) == 200
    assert call(api, "POST", "/v1/responses", {"model": "tiny", "input": "hi"}) == 200
    assert call(api, "POST", "/v1/chat/completions", b"{") == 429  # before it is read
    assert call(api, "POST", "/v1/completions", BODY) == 429
    assert call(api, "POST", "/v1/completions", BODY, TWO) == 200
    metrics = api.call("GET", "/metrics", None, authorization=f"Bearer {ONE}").body
    for limit, count in (("feedback", 2), ("reads", 4), ("requests", 2)):
        line = f'liveweights_refused_requests_total{{limit="{limit}"}} {count}.0'
        assert line.encode() in metrics


def test_whatever_goes_wrong_the_permit_is_given_back() -> None:
    api = limited(concurrency=1, tokens_per_minute=50)
    for body in (b"{", {"model": "none", "prompt": "a"}, BODY | {"max_tokens": 9999}, {}):
        assert call(api, "POST", "/v1/completions", body) in (400, 404)
    assert call(api, "POST", "/v1/completions", BODY) == 200
