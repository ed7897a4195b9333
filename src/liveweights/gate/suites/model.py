"""A checkpoint behind the public API, as a suite asks it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from liveweights.gate.readiness import NOT_READY
from liveweights.gate.suites.clock import off_the_clock
from liveweights.gate.suites.suite import Message, Reply, ToolCall

PATIENCE = 60.0
"""Seconds for which a service that is busy, away, or without the checkpoint is asked again."""


UNFIT = frozenset({400, 413, 422})


class Refused(RuntimeError):
    """The service will not answer a request; the message says why.

    ``unfit``: because of what is asked, such as a prompt longer than the context.
    """

    def __init__(self, message: str, unfit: bool = True) -> None:
        super().__init__(message)
        self.unfit = unfit


@dataclass(frozen=True, slots=True)
class ApiModel:
    """Asks for ``name``. Answers are not offered for training. ``told`` hears of the ``usage`` of
    each, as OpenAI counts it; it is empty where an answer did not say, or did not come although it
    was asked for.

    Raises Refused for what asking again would not change, and aiohttp.ClientError or TimeoutError
    where the service stayed away, or did not come to hold the checkpoint: neither is the model's
    fault, so neither becomes a score, and what is waited for until it is asked again is off the
    clock of an attempt, as is the request that failed.
    """

    name: str
    url: str
    session: aiohttp.ClientSession
    told: Callable[[Mapping[str, Any]], None] | None = None

    async def complete(
        self,
        prompt: str | list[int],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        stop: Sequence[str] = (),
    ) -> str:
        body = {"prompt": prompt, "max_tokens": max_tokens, "temperature": temperature}
        return (await self._ask("completions", body, seed, stop))["text"]

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        stop: Sequence[str] = (),
    ) -> str:
        body = {"messages": messages, "max_tokens": max_tokens, "temperature": temperature}
        return (await self._ask("chat/completions", body, seed, stop))["message"]["content"] or ""

    async def use_tools(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
    ) -> Reply:
        body = {"messages": messages, "max_tokens": max_tokens, "temperature": temperature}
        choice = await self._ask("chat/completions", body | {"tools": tools}, seed, ())
        message = choice["message"]
        calls = tuple(
            ToolCall(
                id=call["id"],
                name=call["function"]["name"],
                arguments=call["function"]["arguments"],
            )
            for call in message.get("tool_calls") or ()
        )
        return Reply(text=message.get("content") or "", calls=calls)

    async def _ask(
        self, path: str, body: dict[str, Any], seed: int, stop: Sequence[str]
    ) -> dict[str, Any]:
        body |= {"model": self.name, "seed": seed}
        if stop:
            body["stop"] = list(stop)
        loop = asyncio.get_running_loop()
        end, pause = loop.time() + PATIENCE, 0.2
        while True:
            asked = loop.time()
            try:
                async with self.session.post(f"{self.url}/v1/{path}", json=body) as response:
                    if response.status == 200:
                        answer = await response.json()
                        self._tell(answer.get("usage") or {})
                        return answer["choices"][0]
                    why = f"{self.name}: {response.status}: {await response.text()}"
                    if response.status not in NOT_READY:
                        raise Refused(why, response.status in UNFIT)
                    raise aiohttp.ClientResponseError(
                        response.request_info,
                        response.history,
                        status=response.status,
                        message=why[:500],
                    )
            except asyncio.CancelledError:  # nobody waits for it any longer; it may be computed
                self._tell({})
                raise
            except (aiohttp.ClientError, TimeoutError) as error:
                if _may_be_computed(error):
                    self._tell({})
                if loop.time() > end:
                    raise
            with off_the_clock(loop.time() - asked):
                await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    def _tell(self, usage: Mapping[str, Any]) -> None:
        if self.told:
            self.told(usage)


def _may_be_computed(error: Exception) -> bool:
    """Whether an answer that was lost may have been made: not where the service was not reached, or
    said that it is busy or away."""
    if isinstance(error, aiohttp.ClientResponseError):
        return error.status in (200, 408, 504)
    return not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)


@asynccontextmanager
async def open_models(
    url: str, names: Sequence[str], key: str = ""
) -> AsyncGenerator[list[ApiModel]]:
    """Models of one service, by alias or by checkpoint id."""
    headers = {"x-training-consent": "no", "x-surface": "gate"}
    if key:
        headers["authorization"] = f"Bearer {key}"
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield [ApiModel(name, url.rstrip("/"), session) for name in names]
