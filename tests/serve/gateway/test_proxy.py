"""Requests on their way through, over real connections."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import aiohttp
import pytest
from openai import AsyncOpenAI
from tests.meter.stored import with_rights
from tests.serve.api.servers import answering, make_server
from yarl import URL

from liveweights.meter.budgets import Budget
from liveweights.meter.charges import assess
from liveweights.meter.price_book import PriceBook
from liveweights.meter.prices import EPOCH, PriceRow
from liveweights.meter.settings import RateLimits
from liveweights.record.backlog import Backlog
from liveweights.record.binary import encode
from liveweights.record.clean import clean_generation
from liveweights.serve.api.app import make_authenticator, make_limiter
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.gateway.app import create_gateway
from liveweights.serve.gateway.counts import asked_text, count_bytes
from liveweights.serve.gateway.settings import GatewaySettings
from liveweights.serve.gateway.upstream import Upstream

from .stub import USAGE, WORDS, Scene, Stub, chunk, scene, streamed

MINE = "mine-0123456789-a"
PRICE = PriceRow(
    id=1,
    since=EPOCH,
    model="big",
    tenant="acme",
    input=10_000_000,
    cached_input=10_000_000,
    output=100_000_000,
    reasoning=100_000_000,
)
JSON = {"content-type": "application/json"}


def play(act: Callable[[Scene], Awaitable[None]], stub: Stub | None = None, **how: Any) -> None:
    async def run() -> None:
        async with scene(stub, **how) as stage, asyncio.timeout(60):
            await act(stage)

    asyncio.run(run())


def test_a_stream_passes_byte_for_byte_and_is_recorded() -> None:
    stub = Stub(headers={"x-request-id": "abc", "openai-version": "1"})

    async def act(stage: Scene) -> None:
        headers = {"x-session-id": "s1", "x-surface": "chat", "x-training-consent": "no"}
        asked = {"stream": True, "temperature": 0.5, "user": "ada", "metadata": {"team": "x"}}
        response, body = await stage.ask(headers=headers, **asked)
        assert response.status == 200
        assert body == b"".join(streamed())
        assert response.headers["x-request-id"] == "abc"
        assert response.headers["content-type"] == "text/event-stream"
        row = stage.recorder.only()
        assert response.headers["x-generation-id"] == row.id
        assert (row.alias, row.checkpoint, row.endpoint) == ("big", "big-1@upstream", "chat")
        assert (row.output, row.finish_reason) == ("".join(WORDS), "stop")
        assert (row.user, row.session, row.surface, row.consent) == ("ada", "s1", "chat", False)
        assert (row.temperature, row.metadata) == (0.5, {"team": "x"})
        assert (row.output_ids, row.logprobs, row.raw_logprobs) == ([], [], [])
        assert row.usage == USAGE
        assert json.loads(row.prompt) == {"messages": [{"role": "user", "content": "Capital?"}]}
        assert 0 < row.first_token_ms <= row.total_ms

    play(act, stub)
    [(method, path, headers, body)] = stub.requests
    assert (method, path) == ("POST", "/v1/chat/completions")
    assert json.loads(body)["metadata"] == {"team": "x"}
    assert headers["x-session-id"] == "s1"
    assert "x-training-consent" not in headers


def test_no_chunk_waits_for_the_next() -> None:
    async def act(stage: Scene) -> None:
        asked = {"model": "big", "messages": [], "stream": True}
        async with stage.client.post("/v1/chat/completions", json=asked) as response:
            first = await response.content.readany()
            assert first == chunk(WORDS[0])
            assert not stage.recorder.generations
            stage.stub.gate.set()
            assert first + await response.read() == b"".join(streamed())
        assert len(stage.recorder.generations) == 1

    async def run() -> None:
        async with scene(Stub(gate=asyncio.Event())) as stage, asyncio.timeout(20):
            await act(stage)

    asyncio.run(run())


def test_ids_and_logprobs_are_kept_where_the_upstream_gives_them() -> None:
    logprobs = {"tokens": ["a", "b"], "token_logprobs": [-0.5, -1.5]}
    choice = {"index": 0, "text": "ab", "finish_reason": "length", "logprobs": logprobs}
    choice |= {"token_ids": [3, 4], "prompt_token_ids": [1, 2]}
    body = json.dumps({"model": "big-1", "choices": [choice], "usage": USAGE}).encode()

    async def act(stage: Scene) -> None:
        own = {"temperature": 1, "top_p": 1, "top_k": 0, "min_p": 0, "repeat_penalty": 1}
        response, got = await stage.ask("completions", prompt="x", logprobs=1, **own)
        assert got == body
        row = stage.recorder.only()
        assert response.headers["x-generation-id"] == row.id
        assert (row.endpoint, row.output, row.finish_reason) == ("completion", "ab", "length")
        assert (row.prompt_ids, row.output_ids) == ([1, 2], [3, 4])
        assert row.logprobs == row.raw_logprobs == [-0.5, -1.5]
        greedy, cooler = {"temperature": 0}, own | {"temperature": 0.7}
        # What it was sampled from may not be known: raw values are not passed off for it.
        for asked, sampled in (
            (greedy, [0.0, 0.0]),
            (cooler, []),
            ({}, []),
            (own | greedy, [0, 0]),
        ):
            stage.recorder.generations.clear()
            await stage.ask("completions", prompt="x", logprobs=1, **asked)
            row = stage.recorder.only()
            assert (row.raw_logprobs, row.logprobs) == ([-0.5, -1.5], sampled)

    play(act, Stub(answer=body))


def test_feedback_may_follow_at_once() -> None:
    async def act(stage: Scene) -> None:
        asked = {"model": "big", "messages": [], "stream": True}
        async with stage.client.post("/v1/chat/completions", json=asked) as response:
            id = response.headers["x-generation-id"]
            async for part in response.content.iter_any():
                if b"[DONE]" in part:
                    break
            said = {"generation": id, "signal": "thumbs", "value": "up"}
            async with stage.client.post("/v1/feedback", json=said) as answer:
                assert answer.status == 201
            async with stage.client.post("/v1/feedback", json=said | {"generation": "g"}) as answer:
                assert answer.status == 404

    play(act)


def test_several_choices_are_several_rows() -> None:
    choices = [
        {"index": i, "message": {"content": text}, "finish_reason": "stop"}
        for i, text in enumerate(["yes", "no"])
    ]
    body = json.dumps({"model": "big-1", "choices": choices, "usage": USAGE}).encode()

    async def act(stage: Scene) -> None:
        response, _ = await stage.ask(n=2)
        counted = [row.usage for row in stage.recorder.generations.values()]
        assert counted == [USAGE, {"prompt_tokens": 0, "completion_tokens": 0, "requests": 0}]
        id = response.headers["x-generation-id"]
        outputs = {row.id: row.output for row in stage.recorder.generations.values()}
        assert outputs == {id: "yes", f"{id}.1": "no"}

    play(act, Stub(answer=body))


def test_tokens_that_the_upstream_does_not_count_are_estimated() -> None:
    thought = chunk("", delta={"reasoning_content": "The capital of France?"})
    silent = [thought, *map(chunk, WORDS), chunk("", "stop"), b"data: [DONE]\n\n"]

    async def act(stage: Scene) -> None:
        await stage.ask(stream=True)
        (row,) = stage.recorder.generations.values()
        said = "".join(WORDS)
        assert (row.output, row.reasoning) == (said, "The capital of France?")
        assert row.usage["completion_tokens"] == count_bytes(row.reasoning + said)
        assert row.usage["prompt_tokens"] == count_bytes(asked_text(row.prompt)) > 0
        assert row.usage["estimated"] == 1

    play(act, Stub(answer=silent))


def test_token_ids_are_their_own_count() -> None:
    choice = {
        "index": 0,
        "message": {"content": "yes it is"},
        "finish_reason": "stop",
        "token_ids": [4, 5],
        "prompt_token_ids": [1, 2, 3],
    }
    body = json.dumps({"model": "big-1", "choices": [choice]}).encode()

    async def act(stage: Scene) -> None:
        await stage.ask()
        (row,) = stage.recorder.generations.values()
        assert row.usage == {"completion_tokens": 2, "prompt_tokens": 3}

    play(act, Stub(answer=body))


def test_a_client_that_leaves_is_left_by_the_gateway() -> None:
    async def act() -> None:
        async with scene(Stub(gate=asyncio.Event())) as stage, asyncio.timeout(20):
            asked = {"model": "big", "messages": [], "stream": True}
            async with stage.client.post("/v1/chat/completions", json=asked) as response:
                await response.content.readany()
                response.close()
            await stage.stub.left.wait()
            while not stage.recorder.generations:
                await asyncio.sleep(0.01)
            row = stage.recorder.only()
            assert (row.output, row.finish_reason) == (WORDS[0], "cancelled")

    asyncio.run(act())


def test_an_answer_that_breaks_off_breaks_off() -> None:
    async def act(stage: Scene) -> None:
        with pytest.raises(aiohttp.ClientPayloadError):
            await stage.ask(stream=True)
        row = stage.recorder.only()
        assert (row.output, row.finish_reason) == ("".join(WORDS[:3]), "cancelled")

    play(act, Stub(break_after=3))


def test_an_upstream_that_falls_silent_is_not_waited_for() -> None:
    async def act(stage: Scene) -> None:
        assert stage.stub.gate is not None
        with pytest.raises(aiohttp.ClientPayloadError):
            await stage.ask(stream=True)
        assert stage.recorder.only().output == WORDS[0]
        await stage.stub.left.wait()
        stage.stub.answer = b"{}"
        response, _ = await stage.ask()
        assert response.status == 200

    play(act, Stub(gate=asyncio.Event()), silent_seconds=2)


def test_an_answer_may_take_longer_than_one_silence() -> None:
    async def act(stage: Scene) -> None:
        gate = stage.stub.gate = asyncio.Event()
        asking = asyncio.create_task(stage.ask(stream=True))
        for _ in range(len(stage.stub.answer)):
            await asyncio.sleep(0.25)
            gate.set()
            await asyncio.sleep(0)
            gate.clear()
        gate.set()
        _, body = await asking
        assert body.endswith(b"[DONE]\n\n")

    play(act, silent_seconds=1.5)


def test_a_connection_that_went_stale_is_replaced_once() -> None:
    async def act(stage: Scene) -> None:
        stage.stub.drop = 1
        response, _ = await stage.ask(stream=True)
        assert response.status == 200
        stage.stub.drop = 2
        response, body = await stage.ask(stream=True)
        assert response.status == 502
        assert json.loads(body)["error"]["code"] == "upstream_unavailable"
        assert len(stage.recorder.generations) == 1

    play(act)


def test_errors_pass_and_are_not_answers() -> None:
    body = b'{"error": {"message": "slow down"}}'

    async def act(stage: Scene) -> None:
        response, got = await stage.ask()
        assert (response.status, got) == (429, body)
        assert response.headers["retry-after"] == "7"
        assert "x-generation-id" not in response.headers
        assert not stage.recorder.generations

    play(act, Stub(answer=body, status=429, headers={"retry-after": "7"}))


@pytest.mark.parametrize("body", [b'{"model": 5}', b'{"max_tokens": [1]}'])
def test_what_is_not_understood_is_the_upstreams_business(body: bytes) -> None:
    async def act(stage: Scene) -> None:
        async with stage.client.post("/v1/completions", data=body, headers=JSON) as response:
            assert response.status == 400
        assert stage.stub.requests[-1][3] == body
        assert not stage.recorder.generations

    play(act, Stub(answer=b"{}", status=400))


@pytest.mark.parametrize(
    "body", [b"{", b"\xff", b"", b'{"model": "big", "x": NaN}', b'{"model": "big", "seed": 1e999}']
)
@pytest.mark.parametrize("path", ["chat/completions", "completions", "responses"])
def test_what_cannot_be_read_is_not_passed_on_where_answers_are_recorded(
    path: str, body: bytes
) -> None:
    """The upstream might answer it, and nobody would know what it used."""

    async def act(stage: Scene) -> None:
        async with stage.client.post(f"/v1/{path}", data=body, headers=JSON) as response:
            assert response.status == 400
            assert (await response.json())["error"]["type"] == "invalid_request_error"
        assert not stage.stub.requests

    play(act, Stub(answer=b"{}"))


def test_a_text_that_was_cut_within_a_character_passes_and_is_recorded() -> None:
    """As clients in JavaScript cut it."""
    body = rb'{"model": "big", "messages": [{"role": "user", "content": "cut \ud83d"}]}'

    async def act(stage: Scene) -> None:
        async with stage.client.post("/v1/chat/completions", data=body, headers=JSON) as response:
            assert response.status == 200
        assert stage.stub.requests[-1][3] == body
        asked = json.loads(stage.recorder.only().prompt)
        assert asked["messages"][0]["content"] == "cut \ufffd"

    play(act)


def test_an_answer_in_another_dialect_passes_unrecorded() -> None:
    async def act(stage: Scene) -> None:
        _, body = await stage.ask(stream=True)
        assert body == b"data: hello\n\n"
        assert not stage.recorder.generations

    play(act, Stub(answer=[b"data: hello\n\n"]))


@pytest.mark.parametrize(
    ("keys", "key", "seen"),
    [({}, "", f"Bearer {MINE}"), ({}, "up", "Bearer up"), ({MINE: "t"}, "", None)],
)
def test_keys(keys: dict[str, str], key: str, seen: str | None) -> None:
    async def act(stage: Scene) -> None:
        await stage.ask(headers={"authorization": f"Bearer {MINE}"}, stream=True)
        assert stage.stub.requests[-1][2].get("authorization") == seen
        assert stage.recorder.only().tenant == (keys.get(MINE) or "default")
        if keys:
            response, _ = await stage.ask(headers={"authorization": "Bearer other"})
            assert response.status == 401

    play(act, settings=ApiSettings(keys=keys), key=key)


def test_everything_else_passes_too() -> None:
    async def act(stage: Scene) -> None:
        target = URL(f"{stage.url}/v1/models?limit=2&x=%2F", encoded=True)
        async with stage.client.get(target) as response:
            assert (await response.json())["data"] == [{"id": "big-1"}]
        assert stage.stub.requests[-1][1] == "/v1/models?limit=2&x=%2F"
        stage.stub.answer = b'{"id": "file-1"}'

        async def upload() -> Any:
            for _ in range(5):
                yield b"z" * 200_000

        async with stage.client.post("/v1/files", data=upload()) as response:
            assert await response.json() == {"id": "file-1"}
        assert stage.stub.requests[-1][3] == b"z" * 1_000_000
        async with stage.client.get("/healthz") as response:
            assert (response.status, (await response.json())["status"]) == (200, "ok")
        async with stage.client.get("/metrics") as response:
            assert 'liveweights_requests_total{route="/v1/*",status="200"} 2.0' in (
                await response.text()
            )
        async with stage.client.get("/elsewhere") as response:
            assert response.status == 404

    play(act)


def test_the_official_client_sees_the_upstream() -> None:
    pieces = ['{"ci', 'ty": "Paris"}']
    calls = [
        {"delta": {"tool_calls": [{"index": 0, "function": {"name": "look", "arguments": ""}}]}},
        *({"delta": {"tool_calls": [{"index": 0, "function": {"arguments": p}}]}} for p in pieces),
        {"delta": {}, "finish_reason": "tool_calls"},
    ]
    events = [
        b"data: " + json.dumps({"model": "big-1", "choices": [{"index": 0, **c}]}).encode()
        for c in calls
    ]
    stub = Stub(answer=[event + b"\n\n" for event in events] + [b"data: [DONE]\n\n"])

    async def act(stage: Scene) -> None:
        async with AsyncOpenAI(base_url=f"{stage.url}/v1", api_key="k") as client:
            raw = client.chat.completions.with_raw_response
            answer = await raw.create(
                model="big", messages=[{"role": "user", "content": "?"}], stream=True
            )
            said = "".join(
                [
                    call.function.arguments or ""
                    async for part in answer.parse()
                    for call in part.choices[0].delta.tool_calls or ()
                    if call.function
                ]
            )
        assert said == "".join(pieces)
        row = stage.recorder.only()
        assert answer.headers["x-generation-id"] == row.id
        assert row.finish_reason == "tool_calls"
        assert json.loads(row.output) == {"tool_calls": [{"name": "look", "arguments": said}]}

    play(act, stub)


def test_words_of_any_length_pass_and_are_recorded_clipped() -> None:
    """They are the upstream's to refuse; the record has names that fit into its indexes."""
    long = "".join(chr(0x4E00 + n) for n in range(6000))

    async def act(stage: Scene) -> None:
        headers = {"x-session-id": "s" * 6000, "x-training-consent": "perhaps"}
        metadata = {
            "surface": long,
            "language": long,
            "training": "x",
            **{f"k{n}": "v" for n in range(99)},
        }
        response, _ = await stage.ask(model=long, user=long, metadata=metadata, headers=headers)
        assert response.status == 200
        asked = json.loads(stage.stub.requests[-1][3])
        assert (asked["user"], asked["metadata"]) == (long, metadata)
        g = clean_generation(stage.recorder.only())
        assert not g.consent
        assert len(g.alias.encode()) <= 512
        assert len((g.user or "").encode()) <= 2048
        async with stage.client.get("/metrics") as response:
            assert len(await response.text()) < 50_000

    play(act)


def test_a_late_record_is_unhealthy() -> None:
    async def act(stage: Scene) -> None:
        stage.recorder.backlog = Backlog(rows=3, age=70.0, late=True)
        async with stage.client.get("/healthz") as response:
            assert response.status == 503
            assert "the record is 70 s behind" in (await response.json())["why"]
        async with stage.client.get("/metrics") as response:
            assert "liveweights_record_backlog_rows 3.0" in await response.text()

    play(act)


def test_limits_hold_on_every_path() -> None:
    async def act(stage: Scene) -> None:
        response, _ = await stage.ask(stream=True, max_tokens=5)
        assert response.status == 200
        async with stage.client.get("/v1/models") as answer:
            assert answer.status == 200
        async with stage.client.get("/v1/models") as answer:
            assert (answer.status, answer.headers["retry-after"]) == (429, "30")
        response, body = await stage.ask()
        assert response.status == 429
        assert json.loads(body)["error"]["code"] == "rate_limit_exceeded"
        assert len(stage.stub.requests) == 2

    play(act, settings=ApiSettings(limits=RateLimits(requests_per_minute=2)))


def test_tokens_are_charged_as_the_upstream_counts_them() -> None:
    async def act(stage: Scene) -> None:
        response, _ = await stage.ask(max_tokens=20)  # used: 13
        assert response.status == 200
        response, _ = await stage.ask(max_tokens=20)
        assert response.status == 200
        response, body = await stage.ask(max_tokens=20)
        assert (response.status, json.loads(body)["error"]["type"]) == (429, "tokens")

    answer = {"model": "big-1", "usage": USAGE}
    answer["choices"] = [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]
    limits = RateLimits(tokens_per_minute=40)
    play(act, Stub(answer=json.dumps(answer).encode()), settings=ApiSettings(limits=limits))


def test_what_was_said_until_an_answer_breaks_off_is_charged() -> None:
    async def act(stage: Scene) -> None:
        with pytest.raises(aiohttp.ClientPayloadError):
            await stage.ask(stream=True)
        assert stage.recorder.only().usage["completion_tokens"] == 3000
        response, body = await stage.ask(max_tokens=3000)
        assert (response.status, json.loads(body)["error"]["type"]) == (429, "tokens")

    stub = Stub(answer=[chunk("word" * 3000), chunk("")], break_after=1)
    play(act, stub, settings=ApiSettings(limits=RateLimits(tokens_per_minute=3600)))


def test_an_answer_that_is_not_http_shows_nobody_the_upstreams_key() -> None:
    async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"\x00 nothing that is HTTP\r\n\r\n")
        writer.close()

    async def act(stage: Scene) -> None:
        server = await asyncio.start_server(garbage, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            behind = GatewaySettings(upstream=f"http://127.0.0.1:{port}")
            async with Upstream(behind) as upstream:
                app = create_gateway(upstream, stage.recorder, key="theirs-0123456789")
                async with (
                    answering(make_server(app, signed=False)) as url,
                    stage.client.post(URL(f"{url}/completions"), json={"prompt": "a"}) as answer,
                ):
                    assert answer.status == 502
                    assert "theirs" not in await answer.text()

    play(act)


@pytest.mark.parametrize(
    ("models", "path", "status"),
    [
        ((), "chat/completions", 200),
        (("big",), "chat/completions", 200),
        (("small",), "chat/completions", 403),
        ((), "embeddings", 200),
        (("big",), "embeddings", 403),  # nobody looks at its model
    ],
)
def test_a_key_that_is_for_certain_models_gets_no_other(
    models: tuple[str, ...], path: str, status: int
) -> None:
    key, keys = with_rights(models=models)
    settings = ApiSettings(require_keys=True)

    async def act(stage: Scene) -> None:
        headers = {"authorization": f"Bearer {key}"}
        response, body = await stage.ask(path, headers=headers)
        assert (response.status, bool(stage.stub.requests)) == (status, status == 200), body
        async with stage.client.post(
            "/v1/chat/completions", data=b"{", headers=JSON | headers
        ) as answer:
            assert answer.status == 400
        assert all("authorization" not in headers for _, _, headers, _ in stage.stub.requests)

    by = make_authenticator(settings, keys=keys)
    play(act, settings=settings, authenticator=by)


@pytest.mark.parametrize("keys_matter", [True, False])
def test_no_request_names_another_model_than_it_is_asked_for(keys_matter: bool) -> None:
    key, keys = with_rights(models=("big",))
    settings = ApiSettings(require_keys=keys_matter)

    async def act(stage: Scene) -> None:
        headers = {"authorization": f"Bearer {key}"} if keys_matter else {}
        for more in ({"MODEL": "dear"}, {"Max_Tokens": 10**5}, {"models": ["dear"]}):
            before = len(stage.stub.requests)
            response, body = await stage.ask(headers=headers, **more)
            assert response.status == (400 if keys_matter else 200), body
            assert len(stage.stub.requests) - before == (not keys_matter)

    by = make_authenticator(settings, keys=keys) if keys_matter else None
    play(act, settings=settings, authenticator=by)


@pytest.mark.parametrize("limited", [True, False])
def test_a_key_with_a_budget_gets_nothing_that_nobody_can_price(limited: bool) -> None:
    budgets = (Budget(period="all", nanos=20_000),) if limited else ()
    key, keys = with_rights(budgets=budgets)
    settings = ApiSettings(require_keys=True)

    async def act(stage: Scene) -> None:
        headers = {"authorization": f"Bearer {key}"}
        priceless = ("batches", "embeddings", "images/generations", "responses/compact")
        for path in (*priceless, "files", "conversations", "responses/input_tokens"):
            before = len(stage.stub.requests)
            response, body = await stage.ask(path, headers=headers)
            refused = limited and path in priceless
            assert response.status == (403 if refused else 200), (path, body)
            assert (len(stage.stub.requests) == before) is refused
            if refused:
                assert json.loads(body)["error"]["code"] == "not_priced"
        url = "/v1/chat/completions"
        async with stage.client.get(url + "/none", headers=headers) as answer:
            assert answer.status == 404

    play(act, settings=settings, authenticator=make_authenticator(settings, keys=keys))


def test_an_answer_costs_what_its_upstream_counted_and_is_reserved_before() -> None:
    """Of this upstream: see ``USAGE``."""
    key, keys = with_rights(budgets=(Budget(period="all", nanos=20_000),))
    settings = ApiSettings(require_keys=True, max_chat_tokens=100)

    limiter = make_limiter(settings, find_price=PriceBook([PRICE]).find)
    cost = 10 * USAGE["prompt_tokens"] + 100 * USAGE["completion_tokens"]

    async def act(stage: Scene) -> None:
        headers = {"authorization": f"Bearer {key}"}

        async def used() -> int:
            async with stage.client.get("/v1/key", headers=headers) as answer:
                (budget,) = (await answer.json())["budgets"]
                assert budget["used_nanos"] + budget["left_nanos"] == 20_000
                return budget["used_nanos"]

        response, _ = await stage.ask(headers=headers)
        assert (response.status, await used()) == (200, cost)
        for asked in ({"n": 2}, {"max_tokens": 200}):
            response, body = await stage.ask(headers=headers, **asked)
            assert response.status == 429, asked
            assert json.loads(body)["error"]["code"] == "insufficient_quota"
        assert (len(stage.stub.requests), await used()) == (1, cost)
        response, _ = await stage.ask(headers=headers, max_tokens=5)
        assert (response.status, await used()) == (200, 2 * cost)

    by = make_authenticator(settings, keys=keys)
    play(act, settings=settings, authenticator=by, limiter=limiter)


@pytest.mark.parametrize(
    ("path", "asked", "status"),
    [
        ("chat/completions", {"max_tokens": 100}, 200),  # 12,000 nanos or less
        ("chat/completions", {"max_tokens": 100, "max_completion_tokens": 1000}, 429),
        ("chat/completions", {"max_tokens": 100, "n": 2000}, 429),
        ("completions", {"prompt": "a", "max_tokens": 100}, 200),
        ("completions", {"prompt": "a", "max_tokens": 1000, "max_completion_tokens": 1}, 429),
        ("completions", {"prompt": ["a"] * 2, "max_tokens": 100}, 429),
        ("completions", {"prompt": "a", "max_tokens": 100, "best_of": 2}, 429),
        ("completions", {"prompt": [5] * 1000, "max_tokens": 100}, 429),
        ("responses", {"input": "a", "max_output_tokens": 100, "max_tokens": 1000}, 200),
        ("responses", {"input": "a", "max_output_tokens": 1000, "max_tokens": 1}, 429),
        ("responses", {"input": "data:" + "a" * 4000, "max_output_tokens": 100}, 429),
    ],
)
def test_all_that_a_request_may_use_is_reserved(
    path: str, asked: dict[str, Any], status: int
) -> None:
    key, keys = with_rights(budgets=(Budget(period="all", nanos=13_000),))
    settings = ApiSettings(require_keys=True)
    limiter = make_limiter(settings, find_price=PriceBook([PRICE]).find)

    async def act(stage: Scene) -> None:
        response, _ = await stage.ask(path, headers={"authorization": f"Bearer {key}"}, **asked)
        assert (response.status, bool(stage.stub.requests)) == (status, status == 200)

    by = make_authenticator(settings, keys=keys)
    play(act, settings=settings, authenticator=by, limiter=limiter)


@pytest.mark.parametrize("model", [{}, {"model": ""}, {"model": None}, {"model": 5}])
def test_a_budget_needs_the_models_name(model: dict[str, Any]) -> None:
    """What the upstream chooses has a price that is known too late."""
    body = json.dumps({"messages": [], "max_tokens": 1000, **model}).encode()
    settings = ApiSettings(require_keys=True)

    async def ask(budgets: tuple[Budget, ...], status: int) -> None:
        key, keys = with_rights(budgets=budgets)
        by = make_authenticator(settings, keys=keys)
        limiter = make_limiter(settings, find_price=PriceBook([PRICE]).find)
        async with scene(settings=settings, authenticator=by, limiter=limiter) as stage:
            headers = JSON | {"authorization": f"Bearer {key}"}
            url = "/v1/chat/completions"
            async with stage.client.post(url, data=body, headers=headers) as response:
                assert response.status == status
                if status == 400:
                    assert (await response.json())["error"]["param"] == "model"
            assert bool(stage.stub.requests) == (status == 200)

    asyncio.run(ask((Budget(period="all", nanos=1),), 400))
    asyncio.run(ask((), 200))


def test_tokens_of_all_choices_are_reserved() -> None:
    async def act(stage: Scene) -> None:
        response, _ = await stage.ask(max_tokens=20)  # used: 13
        assert response.status == 200
        response, body = await stage.ask(max_tokens=10, n=3)
        assert (response.status, json.loads(body)["error"]["type"]) == (429, "tokens")

    play(act, settings=ApiSettings(limits=RateLimits(tokens_per_minute=40)))


def test_what_came_from_a_cache_and_what_was_thought_is_charged_at_its_own_price() -> None:
    key, keys = with_rights(budgets=(Budget(period="all", nanos=20_000),))
    settings = ApiSettings(require_keys=True, max_chat_tokens=10)
    price = replace(PRICE, cached_input=1_000_000, reasoning=300_000_000, request=7)
    limiter = make_limiter(settings, find_price=PriceBook([price]).find)
    usage = {
        "prompt_tokens": 7,
        "completion_tokens": 6,
        "prompt_tokens_details": {"cached_tokens": 5},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    choice = {"index": 0, "message": {"content": "so it is"}, "finish_reason": "stop"}
    whole = json.dumps({"model": "big-1", "choices": [choice], "usage": usage}).encode()

    async def act(stage: Scene) -> None:
        response, _ = await stage.ask(headers={"authorization": f"Bearer {key}"})
        assert response.status == 200
        client = keys.find(key)
        assert client is not None
        (budget,) = (await limiter.look(client)).money
        cost = 10 * 2 + 1 * 5 + 100 * 2 + 300 * 4 + 7
        row = encode(stage.recorder.only())
        held = limiter.find_price("acme", "big", EPOCH)
        assert assess(held, row.counts, withheld=row.withheld).amount == cost
        assert budget.holding.total + budget.holding.used == cost

    by = make_authenticator(settings, keys=keys)
    play(act, Stub(answer=whole), settings=settings, authenticator=by, limiter=limiter)
