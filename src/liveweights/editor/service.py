"""The service that is asked, over its public HTTP API."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp
import msgspec

from liveweights.editor.context import Context
from liveweights.editor.settings import EditorSettings

CONSENT_HEADER = "x-training-consent"
SURFACE = "editor"
T = TypeVar("T")
KNOWN_FOR = 600.0
"""Seconds for which it is remembered what a model can do."""


class Away(RuntimeError):
    """The service cannot be reached, is overloaded, or took too long."""


class Refused(RuntimeError):
    """The service does not take this; the message says why."""


@dataclass(frozen=True, slots=True)
class Answer:
    generation: str
    text: str


class _Choice(msgspec.Struct):
    text: str


class _Completion(msgspec.Struct):
    id: str
    choices: list[_Choice]


class _Capabilities(msgspec.Struct):
    infill: bool | None = None


class _Model(msgspec.Struct):
    capabilities: _Capabilities = msgspec.field(default_factory=_Capabilities)


class Service:
    """One service as the settings name it. Close it at the end."""

    def __init__(self, settings: EditorSettings, *, user: str) -> None:
        self._settings = settings
        self._user = settings.user or user
        self._infill: tuple[float, bool] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def fills_in(self) -> bool:
        """Whether the model was trained to fill the middle. Raises Away, Refused."""
        if self._infill is None or time.monotonic() - self._infill[0] > KNOWN_FOR:
            raw = await self._call("GET", f"/v1/models/{self._settings.model}", None)
            can = bool(_decode(raw, _Model).capabilities.infill)
            self._infill = (time.monotonic(), can)
        return self._infill[1]

    async def complete(self, context: Context, *, language: str, session: str) -> Answer:
        """Ask for what comes at the cursor. Raises Away, Refused."""
        settings = self._settings
        body: dict[str, Any] = {
            "model": settings.model,
            "prompt": context.before,
            "max_tokens": settings.max_tokens,
            "temperature": settings.temperature,
            "stop": ["\n\n" if settings.multiline else "\n"],
            "silence": True,
            "user": self._user,
            "metadata": {"session": session, "language": language, "surface": SURFACE},
        }
        if context.after:
            body["suffix"] = context.after
        answer = _decode(await self._call("POST", "/v1/completions", body), _Completion)
        if not answer.choices:
            raise Refused("POST /v1/completions: an answer without a choice")
        return Answer(answer.id, answer.choices[0].text)

    async def tell(self, items: Sequence[dict[str, str]]) -> None:
        """Send reactions; they are durable when this returns. Raises Away, Refused."""
        body = items[0] if len(items) == 1 else {"feedback": list(items)}
        await self._call("POST", "/v1/feedback", body)

    async def _call(self, method: str, path: str, body: object) -> bytes:
        headers = {} if self._settings.training else {CONSENT_HEADER: "no"}
        data = None
        url = self._settings.url.rstrip("/") + path
        try:
            if body is not None:
                data, headers["content-type"] = msgspec.json.encode(body), "application/json"
            async with self._open().request(method, url, data=data, headers=headers) as response:
                raw = await response.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Away(f"{url}: {type(error).__name__}: {error}") from error
        except ValueError as error:  # of a text without UTF-8, or a header that cannot be
            raise Refused(f"{url}: it cannot be sent: {error}") from error
        if response.status in (408, 429) or response.status >= 500:
            raise Away(f"{url}: {response.status}: {_said(raw)}")
        if not 200 <= response.status < 300:
            raise Refused(f"{url}: {response.status}: {_said(raw)}")
        return raw

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            key = self._settings.key
            self._session = aiohttp.ClientSession(
                headers={"authorization": f"Bearer {key}"} if key else {},
                timeout=aiohttp.ClientTimeout(total=self._settings.timeout),
            )
        return self._session


def _said(raw: bytes) -> str:
    return raw[:300].decode(errors="replace")


def _decode(raw: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.DecodeError as error:
        raise Refused(f"not an answer of a liveweights service: {_said(raw)!r}") from error
