"""A client of the public HTTP API, as an editor plug-in would have one."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import aiohttp
import msgspec

from liveweights.replay.developer import STOP

CONSENT_HEADER = "x-training-consent"


class RequestFailed(RuntimeError):
    """The service did not answer with success; the message says what it answered."""


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One answer: ``generation`` is what feedback refers to, ``seconds`` the whole request."""

    generation: str
    checkpoint: str
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Reaction:
    """One signal of ``POST /v1/feedback``; ``text`` is what a correction says."""

    signal: str
    text: str | None = None


class CycleStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One turn of the circle, as ``GET /status`` tells it."""

    id: int = 0
    state: str = ""
    outcome: str | None = None
    candidate: str | None = None
    reason: str | None = None
    progress: dict[str, Any] | None = None
    learning: dict[str, Any] | None = None
    verdict: dict[str, Any] | None = None


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """What ``GET /status`` tells about an alias; keys that are unknown here are ignored."""

    alias: str = ""
    live: str | None = None
    canary: str | None = None
    cycle: CycleStatus | None = None
    cycles: list[CycleStatus] = []
    releases: int = 0
    generations: int = 0
    feedback: int = 0


class _Choice(msgspec.Struct):
    text: str


class _Completion(msgspec.Struct):
    id: str
    choices: list[_Choice]
    checkpoint: str


class Client:
    """Speaks HTTP to one service; use it as an async context manager. Retries nothing."""

    def __init__(self, url: str, *, api_key: str = "", timeout: float = 60.0) -> None:
        self.url = url.rstrip("/")
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            timeout=self._timeout,
            connector=aiohttp.TCPConnector(limit=0),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def complete(
        self,
        prompt: str,
        *,
        model: str,
        temperature: float,
        max_tokens: int,
        session: str,
        user: str,
        surface: str = "editor",
        consent: bool = True,
    ) -> Suggestion:
        """Ask for the rest of the line. Raises RequestFailed."""
        body = {
            "model": model,
            "prompt": prompt,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "stop": [STOP],
            "silence": True,
            "user": user,
            "metadata": {"session": session, "language": "python", "surface": surface},
        }
        headers = {} if consent else {CONSENT_HEADER: "no"}
        began = time.perf_counter()
        raw = await self._call("POST", "/v1/completions", body, headers)
        try:
            answer = msgspec.json.decode(raw, type=_Completion)
            text = answer.choices[0].text
        except (msgspec.DecodeError, IndexError) as error:
            raise RequestFailed(f"POST /v1/completions: not a completion: {raw[:200]!r}") from error
        return Suggestion(answer.id, answer.checkpoint, text, time.perf_counter() - began)

    async def feedback(self, generation: str, *reactions: Reaction) -> None:
        """Send reactions to one answer in one request, each under an idempotency id of its own.

        Raises RequestFailed unless all of them are durable.
        """
        items = [
            {"generation": generation, "id": uuid.uuid4().hex, "signal": reaction.signal}
            | ({} if reaction.text is None else {"text": reaction.text})
            for reaction in reactions
        ]
        body = items[0] if len(items) == 1 else {"feedback": items}
        await self._call("POST", "/v1/feedback", body, {})

    async def status(self) -> Status:
        """Where the circle stands. Raises RequestFailed."""
        raw = await self._call("GET", "/status", None, {})
        try:
            return msgspec.json.decode(raw, type=Status)
        except msgspec.DecodeError as error:
            raise RequestFailed(f"GET /status: {error}: {raw[:200]!r}") from error

    async def is_healthy(self) -> bool:
        """Whether ``GET /healthz`` answers with success."""
        try:
            await self._call("GET", "/healthz", None, {})
        except RequestFailed:
            return False
        return True

    async def _call(
        self, method: str, path: str, body: object, headers: Mapping[str, str]
    ) -> bytes:
        if self._session is None:
            raise RuntimeError("use the client inside `async with`")
        data = None if body is None else msgspec.json.encode(body)
        sent = dict(headers) if data is None else {**headers, "content-type": "application/json"}
        try:
            async with self._session.request(
                method, self.url + path, data=data, headers=sent
            ) as response:
                raw = await response.read()
                if not 200 <= response.status < 300:
                    raise RequestFailed(
                        f"{method} {path}: {response.status}: {raw[:300].decode(errors='replace')}"
                    )
                return raw
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise RequestFailed(f"{method} {path}: {type(error).__name__}: {error}") from error
