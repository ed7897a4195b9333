"""Traffic that bills are worked out wrongly from, and an upstream that knows what it gave.

A request's ``seed`` is its number in the plan, so that the upstream knows what to do, and every
bill's lines can be told apart. A token is a word that is one token for any tokenizer of English.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

WORDS = ("the", "of", "and", "to", "in", "is", "for", "that", "with", "from", "this", "have")
AROUND = 7
"""Tokens that a template puts around one message (OpenAI's "How to count tokens")."""
ATTEMPTS = 3
"""How often a client asks for an answer that fails or is broken off."""


@dataclass(frozen=True)
class Case:
    """``words`` are asked, ``tokens`` are each choice's. Counts of tokens after which somebody
    breaks off are None where nobody does; ``fails`` and ``cut_after`` are of the first attempt."""

    kind: str
    words: int
    tokens: int
    stream: bool = False
    usage: bool = True
    choices: int = 1
    cached: int = 0
    leaves_after: int | None = None
    cut_after: int | None = None
    fails: bool = False


KINDS: Mapping[str, Mapping[str, Any]] = {
    "whole": {},
    "whole, several choices": {"choices": 3},
    "whole, prompt from a cache": {"cached": 64},
    "whole, client leaves": {"leaves_after": 10},
    "stream": {"stream": True},
    "stream, prompt from a cache": {"stream": True, "cached": 64},
    "stream, no usage asked for": {"stream": True, "usage": False},
    "stream, several choices": {"stream": True, "choices": 3},
    "stream, several choices, no usage asked for": {"stream": True, "choices": 3, "usage": False},
    "stream, client leaves": {"stream": True, "leaves_after": 10},
    "stream, several choices, client leaves": {"stream": True, "choices": 3, "leaves_after": 10},
    "stream, upstream breaks off, asked again": {"stream": True, "cut_after": 10},
    "upstream fails, asked again": {"fails": True},
}
"""What is asked, and what goes wrong."""


def make_cases(count: int, seed: int = 1) -> list[Case]:
    """As many of each kind, in turns."""
    draw = random.Random(seed)
    cases: list[Case] = []
    for number in range(count):
        kind, said = list(KINDS.items())[number % len(KINDS)]
        cases.append(Case(kind, draw.randint(80, 200), draw.randint(30, 90), **said))
    return cases


@dataclass
class Given:
    """Tokens that the upstream read and sampled for one attempt, whatever became of them."""

    prompt: int = 0
    cached: int = 0
    output: int = 0


@dataclass
class Upstream:
    """Answers as OpenAI's API does. ``given[n]`` is what it gave for case ``n``."""

    cases: Sequence[Case]
    pause: float
    given: list[list[Given]] = field(init=False)

    def __post_init__(self) -> None:
        self.given = [[] for _ in self.cases]

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._answer)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "stub", "object": "model"}]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        number = body["seed"]
        case, attempts = self.cases[number], self.given[number]
        first = not attempts
        given = Given()
        attempts.append(given)
        if case.fails and first:
            error = {"message": "it is ill", "type": "server_error"}
            return web.json_response({"error": error}, status=500)
        given.prompt = len(body["messages"][0]["content"].split()) + AROUND
        given.cached = case.cached
        if not body.get("stream"):
            return await self._whole(case, given)
        asked = (body.get("stream_options") or {}).get("include_usage", False)
        return await self._stream(request, case, given, usage=asked, cut=first)

    async def _whole(self, case: Case, given: Given) -> web.Response:
        for _ in range(case.tokens):
            await asyncio.sleep(self.pause)
            given.output += case.choices
        text = _text(case.tokens)
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": text},
                "finish_reason": "stop",
            }
            for index in range(case.choices)
        ]
        answer = _answer("chat.completion", choices) | {"usage": _usage(given)}
        return web.json_response(answer)

    async def _stream(
        self, request: web.Request, case: Case, given: Given, *, usage: bool, cut: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for place in range(case.tokens):
            if cut and place == case.cut_after:
                assert request.transport is not None
                request.transport.close()
                return response
            for index in range(case.choices):
                delta: dict[str, Any] = {"content": f" {WORDS[place % len(WORDS)]}"}
                if place == 0:
                    delta["role"] = "assistant"
                await _send(response, [_choice(index, delta, None)])
                given.output += 1
            await asyncio.sleep(self.pause)
        for index in range(case.choices):
            await _send(response, [_choice(index, {}, "stop")])
        if usage:
            await _send(response, [], usage=_usage(given))
        await response.write(b"data: [DONE]\n\n")
        return response


def _text(tokens: int) -> str:
    return "".join(f" {WORDS[place % len(WORDS)]}" for place in range(tokens))


def _answer(kind: str, choices: list[Any]) -> dict[str, Any]:
    known = {"id": "chatcmpl-1", "object": kind, "created": 1, "model": "stub"}
    return known | {"choices": choices}


def _choice(index: int, delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": reason}


async def _send(response: web.StreamResponse, choices: list[Any], **more: Any) -> None:
    chunk = _answer("chat.completion.chunk", choices) | more
    await response.write(b"data: " + json.dumps(chunk).encode() + b"\n\n")


def _usage(given: Given) -> dict[str, Any]:
    return {
        "prompt_tokens": given.prompt,
        "completion_tokens": given.output,
        "total_tokens": given.prompt + given.output,
        "prompt_tokens_details": {"cached_tokens": given.cached},
    }


async def ask(
    session: aiohttp.ClientSession, url: str, key: str, case: Case, number: int, pause: float
) -> int:
    """As a client does it, and again where it fails; how often it was asked. Raises
    ConnectionError where that does not help."""
    draw = random.Random(number)
    content = " ".join(draw.choice(WORDS) for _ in range(case.words))
    body: dict[str, Any] = {
        "model": "stub",
        "seed": number,
        "messages": [{"role": "user", "content": content}],
    }
    if case.choices > 1:
        body["n"] = case.choices
    if case.stream:
        body["stream"] = True
        if case.usage:
            body["stream_options"] = {"include_usage": True}
    headers = {"authorization": f"Bearer {key}"} if key else {}
    patience = None
    if case.leaves_after is not None and not case.stream:
        patience = case.leaves_after * pause
    timeout = aiohttp.ClientTimeout(total=patience)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            asked = session.post(url, json=body, headers=headers, timeout=timeout)
            async with asked as response:
                if response.status == 200 and await _read(response, case):
                    return attempt
                if response.status < 500 and response.status != 200:
                    raise ConnectionError(f"{response.status}: {await response.text()}"[:500])
        except (aiohttp.ClientError, TimeoutError):
            if case.leaves_after is not None:
                return attempt
        await asyncio.sleep(pause)
    raise ConnectionError(f"{case.kind}: it failed {ATTEMPTS} times")


async def _read(response: aiohttp.ClientResponse, case: Case) -> bool:
    """Whether all of it came, or the client left when it wanted to."""
    if not case.stream:
        return bool((await response.json())["choices"])
    seen, tail = 0, b""
    async for line in response.content:
        tail = (tail + line)[-64:]
        seen += b'"content":' in line.replace(b": ", b":")
        if case.leaves_after is not None and seen >= case.leaves_after * case.choices:
            return True
    return b"[DONE]" in tail
