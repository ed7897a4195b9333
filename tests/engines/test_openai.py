"""The engine on somebody else's server, over real connections."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from tests.serve.api.doubles import make_tokenizer

from liveweights.engines.openai import OpenAIEngine
from liveweights.engines.protocol import (
    Constraint,
    EngineError,
    InvalidConstraint,
    Sampling,
    Token,
    UnknownCheckpoint,
)
from liveweights.engines.settings import EngineSettings, OpenAISettings
from liveweights.weights.checkpoint import Checkpoint

BASE = Checkpoint("tiny@000000000000", "base", Path("/base"))
ADAPTER = Checkpoint("tiny@1", "adapter", Path("/a"), base=BASE.id, parent=BASE.id)


class Server:
    """Answers with ``pieces``, then says ``reason``."""

    def __init__(self, *pieces: str, reason: str = "stop", status: int = 200) -> None:
        self.pieces, self.reason, self.status = pieces, reason, status
        self.asked: dict[str, Any] = {}

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "one"}, {"id": "two"}]})

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.asked = await request.json()
        if self.status != 200:
            return web.json_response({"error": {"message": "too hot"}}, status=self.status)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for piece in self.pieces:
            await response.write(event(text=piece))
        if self.reason:
            await response.write(event(text="", finish_reason=self.reason))
            await response.write(b"data: [DONE]\n\n")
        return response


def event(**choice: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, **choice}]}).encode() + b"\n\n"


@asynccontextmanager
async def attached(server: Server, **settings: Any) -> AsyncIterator[OpenAIEngine]:
    app = web.Application()
    app.router.add_get("/v1/models", server.models)
    app.router.add_post("/v1/completions", server.complete)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}/v1".format(*runner.addresses[0][:2])
    engine = OpenAIEngine(
        BASE,
        EngineSettings(kind="openai", context_length=64),
        OpenAISettings(server=url, **settings),
        make_tokenizer(),
    )
    try:
        yield engine
    finally:
        await engine.close()
        await runner.cleanup()


def answer(server: Server, settings: dict[str, Any] | None = None, **how: Any) -> list[Token]:
    async def run() -> list[Token]:
        async with attached(server, **(settings or {})) as engine:
            await engine.load(BASE)
            stream = engine.generate(BASE.id, [72, 105], Sampling(**how))
            return [token async for token in stream]

    return asyncio.run(run())


def shown(tokens: list[Token]) -> str:
    return "".join(token.text for token in tokens)


def test_text_becomes_tokens_that_end_in_an_end_of_text() -> None:
    server = Server("he", "llo", " ✓")
    tokens = answer(server, max_tokens=20, temperature=0.5, seed=4)
    tokenizer = make_tokenizer()
    assert shown(tokens) == "hello ✓"
    assert tokenizer.decode([t.id for t in tokens], skip_special_tokens=True) == "hello ✓"
    assert tokens[-1].id == tokenizer.eos_token_id
    assert [t.stop for t in tokens] == [None] * (len(tokens) - 1) + ["stop"]
    assert all(math.isnan(t.logprob) and math.isnan(t.raw_logprob) for t in tokens)
    assert server.asked["prompt"] == [72, 105]
    assert (server.asked["model"], server.asked["seed"]) == ("one", 4)
    assert "top_k" not in server.asked


def test_the_limit_is_not_an_end_of_text() -> None:
    tokens = answer(Server("ab", "cd", reason="length"), max_tokens=4)
    assert (shown(tokens), tokens[-1].stop, len(tokens)) == ("abcd", "length", 4)


def test_stop_strings_and_what_is_skipped() -> None:
    server = Server(" wo", "rd. A", "nd more")
    tokens = answer(server, max_tokens=9, stop=(". ",), skip=" ")
    assert (shown(tokens), tokens[-1].stop) == ("word", "stop")
    assert "stop" not in server.asked


def test_what_changes_the_distribution_is_passed_on_where_it_was_asked_for() -> None:
    server = Server("x")
    asked = {"frequency_penalty": 0.5, "presence_penalty": -1.0, "min_p": 0.1}
    tokens = answer(server, repetition_penalty=1.2, **asked)
    assert {name: server.asked[name] for name in asked} == asked
    assert server.asked["repetition_penalty"] == 1.2
    assert math.isnan(tokens[0].logprob)  # nothing is recorded that could be wrong
    answer(server)
    assert not {*asked, "repetition_penalty"} & set(server.asked)


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"logit_bias": ((5, 1.0),)}, "takes no bias"),
        ({"constraint": Constraint("json")}, "takes no response format or forced tool call"),
    ],
)
def test_what_cannot_be_passed_on_is_refused(how: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConstraint, match=said):
        answer(Server("x"), **how)


def test_silence_is_an_answer() -> None:
    [token] = answer(Server())
    assert (token.text, token.stop) == ("", "stop")


def test_prompts_as_text() -> None:
    server = Server("x")
    answer(server, {"prompt": "text", "model": "two"})
    assert server.asked["prompt"] == make_tokenizer().decode([72, 105])
    assert server.asked["model"] == "two"


@pytest.mark.parametrize(
    ("server", "why"),
    [(Server(status=429), "too hot"), (Server("half", reason=""), "broke off")],
)
def test_what_goes_wrong_says_so(server: Server, why: str) -> None:
    with pytest.raises(EngineError, match=why):
        answer(server)


def test_only_the_base_is_served() -> None:
    async def run() -> None:
        async with attached(Server()) as engine:
            assert engine.resident() == frozenset()
            with pytest.raises(UnknownCheckpoint):
                await anext(engine.generate(BASE.id, [1], Sampling()))
            await engine.load(BASE)
            assert engine.resident() == {BASE.id}
            with pytest.raises(EngineError, match="one fixed checkpoint"):
                await engine.load(ADAPTER, BASE)
        async with attached(Server(), model="three") as engine:
            with pytest.raises(EngineError, match="three"):
                await engine.load(BASE)

    asyncio.run(run())


def test_an_absent_server_says_so() -> None:
    async def run() -> None:
        remote = OpenAISettings(server="http://127.0.0.1:9")
        engine = OpenAIEngine(BASE, None, remote, make_tokenizer())
        try:
            await engine.load(BASE)
        finally:
            await engine.close()

    with pytest.raises(EngineError, match="cannot be used"):
        asyncio.run(run())
