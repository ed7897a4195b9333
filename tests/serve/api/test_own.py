"""What the service asks of itself: answered, and nobody's traffic."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.record.rows import make_generation

from liveweights.gate.questions import ask
from liveweights.gate.scoring import Case
from liveweights.meter.settings import RateLimits
from liveweights.serve.api.settings import ApiSettings
from liveweights.service_key import PREFIX

from .doubles import BASE, Api, make_api
from .servers import answering, make_server

KEY = f"{PREFIX}of-this-start"
KEYS = {"first-0123456789": "team-a", "second-0123456789": "team-b"}
BODY = {"model": "tiny", "prompt": "p", "max_tokens": 8, "user": "ada"}
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}


def own(api: Api, path: str, body: Any, **headers: str) -> Any:
    return api.call("POST", path, body, authorization=f"Bearer {KEY}", **headers)


def make(*, keys: bool = True, **settings: Any) -> Api:
    named = KEYS if keys else {}
    return make_api(settings=ApiSettings(keys=named, **settings), service_key=KEY)


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize("stream", [True, False])
def test_it_is_answered_and_not_recorded(keys: bool, stream: bool) -> None:
    api = make(keys=keys)
    assert own(api, "/v1/completions", BODY | {"stream": stream}).status == 200
    assert own(api, "/v1/chat/completions", CHAT | {"stream": stream}).status == 200
    assert own(api, "/v1/responses", {"model": "tiny", "input": "hi"}).status == 200
    assert len(api.engine.calls) == 3
    assert (api.recorder.generations, api.responses.rows) == ({}, {})
    assert b"liveweights_generations_total{" not in api.call("GET", "/metrics").body


def test_the_operator_is_shown_all_models() -> None:
    operator = "operator-0123456789"
    api = make(operator_key=operator)
    for key, status in ((operator, 200), (KEY, 200), ("first-0123456789", 200), ("none", 401)):
        assert api.call("GET", "/v1/models", authorization=f"Bearer {key}").status == status


def test_a_failed_answer_is_not_recorded_either() -> None:
    api = make_api(settings=ApiSettings(keys=KEYS), service_key=KEY, fail_at=2)
    assert own(api, "/v1/completions", BODY).status == 503
    assert api.recorder.generations == {}


def test_no_limit_holds_for_it_and_it_uses_up_nobodys() -> None:
    limits = RateLimits(requests_per_minute=1, tokens_per_minute=50, concurrency=1)
    api = make(limits=limits)
    for _ in range(5):
        answer = own(api, "/v1/completions", BODY)
        assert answer.status == 200
        assert not [name for name in answer.headers if name.startswith("x-ratelimit")]
    for key in KEYS:
        assert (
            api.call("POST", "/v1/completions", BODY, authorization=f"Bearer {key}").status == 200
        )


def test_a_full_queue_is_waited_in() -> None:
    async def go() -> list[int]:
        release = asyncio.Event()
        api = make_api(
            settings=ApiSettings(keys=KEYS, max_running=1, max_waiting=0),
            service_key=KEY,
            pause=release.wait,
        )

        async def post(key: str) -> int:
            answer = await api.acall("POST", "/v1/completions", BODY, authorization=f"Bearer {key}")
            return answer.status

        running = asyncio.create_task(post("first-0123456789"))
        await asyncio.sleep(0.05)
        refused = await post("second-0123456789")
        waiting = asyncio.create_task(post(KEY))
        await asyncio.sleep(0.05)
        release.set()
        return [await running, refused, await waiting]

    assert asyncio.run(go()) == [200, 429, 200]


@pytest.mark.parametrize("keys", [True, False])
@pytest.mark.parametrize("given", [f"{PREFIX}guess", PREFIX, KEY + "x", KEY[:-1]])
def test_what_only_looks_like_its_key_is_nobody(keys: bool, given: str) -> None:
    api = make(keys=keys)
    for path, body in (("/v1/completions", BODY), ("/v1/chat/completions", CHAT)):
        answer = api.call("POST", path, body, authorization=f"Bearer {given}")
        assert answer.status == 401
        assert "another service" in answer.error()["message"]
    assert api.call("GET", "/v1/models/tiny", authorization=f"Bearer {given}").status == 401
    assert api.engine.calls == []


def test_a_service_without_a_key_of_its_own_admits_none() -> None:
    api = make_api(settings=ApiSettings(keys=KEYS))
    for given in ("", PREFIX, KEY):
        assert own_status(api, given) == 401


def own_status(api: Api, key: str) -> int:
    return api.call("POST", "/v1/completions", BODY, authorization=f"Bearer {key}").status


def test_it_sees_models_and_takes_part_in_nothing_else() -> None:
    api = make()
    bearer = f"Bearer {KEY}"
    assert api.call("GET", "/v1/models/tiny", authorization=bearer).status == 200
    said = {"generation": "g", "signal": "accepted"}
    assert api.call("POST", "/v1/feedback", said, authorization=bearer).status == 401
    assert api.call("GET", "/v1/responses/r", authorization=bearer).status == 401


def test_the_gate_leaves_no_row_of_any_tenant() -> None:
    """Prompts of both tenants are asked of a service with keys and tight limits."""
    limits = RateLimits(requests_per_minute=1, tokens_per_minute=1, concurrency=1)
    api = make(limits=limits)
    cases = [
        (Case(id, id, "hello"), make_generation(id, tenant=tenant, prompt_ids=[65, 66, n]))
        for n, (id, tenant) in enumerate([("a", "team-a"), ("b", "team-b"), ("c", "team-b")])
    ]

    async def go() -> dict[str, str]:
        async with answering(make_server(api.app)) as url:
            where = url.removesuffix("/v1")
            return await ask(where, BASE, cases, key=KEY, concurrency=3)

    found = asyncio.run(go())
    assert found.keys() == {"a", "b", "c"}
    assert len(api.engine.calls) == 3
    assert api.recorder.generations == {}
