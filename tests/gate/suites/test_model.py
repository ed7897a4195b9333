from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import ClientError, web

from liveweights.gate.suites.model import ApiModel, Refused, open_models
from liveweights.gate.suites.questions import Questions, exact
from liveweights.gate.suites.run import attempt_case
from liveweights.gate.suites.suite import Attempt, Card, Case

Serve = Callable[[web.Request], Awaitable[web.Response]]


def with_server(serve: Serve, ask: Callable[[ApiModel], Awaitable[Any]]) -> Any:
    async def go() -> Any:
        app = web.Application()
        app.router.add_post("/v1/{rest:.*}", serve)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        port = runner.addresses[0][1]
        try:
            async with open_models(f"http://127.0.0.1:{port}/", ["m@1"], key="k") as (model,):
                return await ask(model)
        finally:
            await runner.cleanup()

    return asyncio.run(go())


def test_requests_are_openais_and_not_offered_for_training() -> None:
    seen: list[tuple[str, dict[str, Any], dict[str, str]]] = []

    async def serve(request: web.Request) -> web.Response:
        seen.append((request.path, await request.json(), dict(request.headers)))
        return web.json_response({"choices": [{"text": "t", "message": {"content": "c"}}]})

    async def ask(model: ApiModel) -> tuple[str, str]:
        return (
            await model.complete([1, 2], max_tokens=3, temperature=0.5, seed=9, stop=["\n"]),
            await model.chat(
                [{"role": "user", "content": "hi"}], max_tokens=4, temperature=0, seed=8
            ),
        )

    assert with_server(serve, ask) == ("t", "c")
    (path, body, headers), (chat_path, chat, _) = seen
    assert (path, chat_path) == ("/v1/completions", "/v1/chat/completions")
    assert body == {
        "model": "m@1",
        "prompt": [1, 2],
        "max_tokens": 3,
        "temperature": 0.5,
        "seed": 9,
        "stop": ["\n"],
    }
    assert chat["messages"] == [{"role": "user", "content": "hi"}]
    assert "stop" not in chat
    lower = {name.lower(): value for name, value in headers.items()}
    assert lower["x-training-consent"] == "no"
    assert lower["authorization"] == "Bearer k"


def test_a_busy_service_is_asked_again_and_a_refusal_is_not() -> None:
    codes = iter([503, 429, 200, 400])

    async def serve(request: web.Request) -> web.Response:
        code = next(codes)
        body = {"choices": [{"text": "t"}]} if code == 200 else {"error": "why"}
        return web.json_response(body, status=code)

    async def ask(model: ApiModel) -> str:
        said = await model.complete("p", max_tokens=1, temperature=0, seed=0)
        with pytest.raises(Refused, match=r"400: .*why"):
            await model.complete("p", max_tokens=1, temperature=0, seed=0)
        return said

    assert with_server(serve, ask) == "t"


def test_a_service_that_has_not_loaded_the_checkpoint_yet_is_asked_again() -> None:
    """As after a restart: whoever asks for a checkpoint by its id gets a 404 until it is there."""
    codes = iter([404, 408, 200])
    told: list[Mapping[str, Any]] = []

    async def serve(request: web.Request) -> web.Response:
        return web.json_response(
            {"choices": [{"text": "t"}], "usage": {"n": 1}}, status=next(codes)
        )

    async def ask(model: ApiModel) -> str:
        heard = replace(model, told=told.append)
        return await heard.complete("p", max_tokens=1, temperature=0, seed=0)

    assert with_server(serve, ask) == "t"
    assert told == [{}, {"n": 1}]  # of the 408 nobody knows


def test_a_checkpoint_that_never_comes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("liveweights.gate.suites.model.PATIENCE", 0.3)

    async def serve(request: web.Request) -> web.Response:
        return web.json_response({"error": "it does not exist here"}, status=404)

    async def ask(model: ApiModel) -> None:
        with pytest.raises(ClientError, match=r"404.*m@1.*it does not exist here"):
            await model.complete("p", max_tokens=1, temperature=0, seed=0)

    with_server(serve, ask)


def test_waiting_for_the_service_is_no_time_of_an_attempt() -> None:
    """Otherwise a service that restarts would score 0 for both."""
    began: list[float] = []

    async def serve(request: web.Request) -> web.Response:
        loop = asyncio.get_running_loop()
        began.append(loop.time())
        if loop.time() - began[0] < 1.5:
            return web.Response(status=404)
        return web.json_response({"choices": [{"text": "yes"}]})

    async def ask(model: ApiModel) -> Attempt:
        case = Case(id="a", prompt="p", target="yes")
        card = Card(name="n", version="1", title="t", licence="l", seconds=1.0)
        return await attempt_case(Questions(card, [case], exact), case, model, 0)

    attempt = with_server(serve, ask)
    assert (attempt.score, attempt.detail) == (1.0, "")


def test_what_may_have_been_computed_is_told_without_tokens() -> None:
    """Answers that are lost, and none that were refused or never asked for."""
    told: list[dict[str, Any]] = []
    answers: list[int] = []
    over = asyncio.Event()

    async def serve(request: web.Request) -> web.Response:
        answers.append(len(answers))
        match answers[-1]:
            case 0 | 1:
                return web.Response(status=503)
            case 2:
                assert request.transport is not None
                request.transport.close()
            case 3:
                return web.json_response({"choices": [{"text": "t"}], "usage": {"n": 1}})
            case 4:
                return web.json_response({"error": {}}, status=400)
            case _:
                await over.wait()
        return web.Response()

    async def ask(model: ApiModel) -> None:
        heard = replace(model, told=lambda usage: told.append(dict(usage)))

        async def one() -> None:
            await heard.complete("a", max_tokens=1, temperature=0, seed=0)

        await one()
        assert told == [{}, {"n": 1}]
        with pytest.raises(Refused):
            await one()
        assert len(told) == 2
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one(), 0.2)
        over.set()
        assert told[2:] == [{}]
        await away()
        assert len(told) == 3

    async def away() -> None:
        async with open_models("http://127.0.0.1:9", ["m"]) as (model,):
            heard = replace(model, told=lambda usage: told.append(dict(usage)))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await heard.complete("a", max_tokens=1, temperature=0, seed=0)

    with_server(serve, ask)
