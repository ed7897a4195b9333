"""From a pinned, tokenized request to an answer on the wire and in the record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, cast

import msgspec
from starlette.types import Receive, Send

from liveweights.api.draft import Draft
from liveweights.api.errors import from_engine, internal
from liveweights.api.infill import Infill
from liveweights.api.metrics import Metrics
from liveweights.api.recorder import Recorder
from liveweights.api.routing import Router
from liveweights.api.settings import ApiSettings
from liveweights.api.shadow import Shadow
from liveweights.api.streaming import (
    DONE,
    error_event,
    event,
    send_chunk,
    start_stream,
    while_connected,
)
from liveweights.api.tokenization import Tokenizer
from liveweights.api.wire import reply
from liveweights.engines.protocol import Engine, EngineError, PromptTooLong, Token

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Service:
    """What the handlers share."""

    engine: Engine
    recorder: Recorder
    router: Router
    tokenizer: Tokenizer
    settings: ApiSettings
    metrics: Metrics
    infill: Infill | None
    shadow: Shadow | None = None


class Shape(Protocol):
    """How one endpoint puts a draft into JSON."""

    every_token: bool
    """Whether tokens without visible text are sent too (they carry log-probabilities)."""

    def whole(self, draft: Draft, reason: str) -> bytes:
        """The answer, not streamed."""
        ...

    def chunk(self, token: Token, reason: str | None) -> bytes:
        """One streamed token; ``reason`` is set on the last."""
        ...

    def usage(self, draft: Draft) -> bytes | None:
        """The closing usage chunk, if it was asked for."""
        ...


def identity(draft: Draft) -> list[tuple[bytes, bytes]]:
    """Headers that say which answer this is and which checkpoint gave it."""
    return [
        (b"x-generation-id", draft.id.encode()),
        (b"x-checkpoint", draft.checkpoint.encode()),
    ]


async def send_whole(
    service: Service, draft: Draft, shape: Shape, receive: Receive, send: Send
) -> None:
    """Raises ApiError."""
    try:
        reason = await _generate(service, draft, receive, None)
    except EngineError as error:
        raise from_engine(error) from error
    if reason is not None:
        await reply(send, 200, shape.whole(draft, reason), identity(draft))


async def send_stream(
    service: Service, draft: Draft, shape: Shape, receive: Receive, send: Send
) -> None:
    """Raises ApiError while nothing has been sent; later errors become an event."""
    started = False

    async def emit(token: Token) -> None:
        nonlocal started
        if not started:
            started = True
            await start_stream(send, identity(draft))
        if token.text or shape.every_token:
            await send_chunk(send, event(shape.chunk(token, None)))

    try:
        reason = await _generate(service, draft, receive, emit)
    except EngineError as error:
        if not started:
            raise from_engine(error) from error
        log.warning("generation %s on %s broke off: %s", draft.id, draft.checkpoint, error)
        await send_chunk(send, error_event(from_engine(error)) + DONE, more=False)
        return
    except Exception:
        if started:
            await send_chunk(send, error_event(internal()) + DONE, more=False)
        raise
    if reason is None:
        return
    if not started:
        await start_stream(send, identity(draft))
    end = event(shape.chunk(draft.tokens[-1], reason))
    usage = shape.usage(draft)
    if usage is not None:
        end += event(usage)
    await send_chunk(send, end + DONE, more=False)


async def _generate(
    service: Service,
    draft: Draft,
    receive: Receive,
    emit: Callable[[Token], Awaitable[None]] | None,
) -> str | None:
    """Fills the draft, gives every token but the last to ``emit``, and records the result.

    Returns the finish reason, or None if the client went away. Recording comes before the last
    byte, so that feedback can follow the answer at once. Raises EngineError.
    """
    reason: str | None = None
    try:
        async with while_connected(receive) as client, aclosing(_tokens(service, draft)) as tokens:
            async for token in tokens:
                draft.add(token)
                if token.stop is not None:
                    reason = token.stop
                    break
                if emit is not None:
                    await emit(token)
            else:
                raise EngineError("the answer ended without a reason to stop")
    except asyncio.CancelledError:
        await _record(service, draft, "cancelled")
        raise
    except PromptTooLong:
        raise  # the request's own fault
    except Exception:
        # What the user saw of a streamed answer can still draw feedback, and a canary is judged
        # by its failures.
        await _record(service, draft, "error")
        raise
    await _record(service, draft, reason or "cancelled")
    return None if client.gone else reason


class _Tokens(Protocol):
    def __aiter__(self) -> _Tokens: ...

    async def __anext__(self) -> Token: ...

    async def aclose(self) -> None: ...


def _tokens(service: Service, draft: Draft) -> _Tokens:
    iterator = service.engine.generate(draft.checkpoint, draft.prompt_ids, draft.sampling)
    return cast(_Tokens, iterator)


async def _record(service: Service, draft: Draft, reason: str) -> None:
    service.metrics.answered(draft, reason)
    if draft.tokens or reason == "error":
        await service.recorder.add_generation(draft.finish(reason))
    if service.shadow and reason in ("stop", "length"):
        service.shadow.offer(draft)


def envelope(draft: Draft, object: str) -> dict[str, Any]:
    """What every answer and every chunk begins with."""
    return {
        "id": draft.id,
        "object": object,
        "created": int(draft.created_at.timestamp()),
        "model": draft.alias,
        "checkpoint": draft.checkpoint,
        "system_fingerprint": draft.checkpoint,
    }


class ChunkFrame:
    """A chunk's unchanging bytes, so that a token costs one small JSON encoding."""

    __slots__ = ("head", "tail", "usage_head")

    def __init__(self, draft: Draft, object: str, *, include_usage: bool) -> None:
        self.usage_head = msgspec.json.encode(envelope(draft, object))[:-1] + b',"choices":['
        self.head = self.usage_head + b'{"index":0,'
        self.tail = b'}],"usage":null}' if include_usage else b"}]}"

    def chunk(self, body: bytes, reason: str | None) -> bytes:
        """``body`` holds the choice's own members, each followed by a comma."""
        end = b'"finish_reason":' + (b"null" if reason is None else b'"%s"' % reason.encode())
        return self.head + body + end + self.tail

    def usage(self, draft: Draft) -> bytes:
        return self.usage_head + b'],"usage":' + msgspec.json.encode(draft.usage()) + b"}"
