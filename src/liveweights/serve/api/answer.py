"""From a pinned, tokenized request to an answer on the wire and in the record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, cast

import msgspec

from liveweights.agent.tool import Agent
from liveweights.engines.protocol import (
    EngineError,
    InvalidConstraint,
    PromptTooLong,
    Token,
)
from liveweights.http.authentication import Authenticator
from liveweights.http.errors import ApiError, internal
from liveweights.http.exchange import Exchange
from liveweights.http.slots import Slots
from liveweights.http.streaming import Client, EventStream, event
from liveweights.http.wire import reply
from liveweights.meter.limits import Limiter
from liveweights.meter.money import NANOS
from liveweights.serve.api.choice import Choices
from liveweights.serve.api.draft import Draft
from liveweights.serve.api.metrics import Metrics
from liveweights.serve.api.names import model_header
from liveweights.serve.api.objects import CompletionDetails, Usage
from liveweights.serve.api.recorder import Conversations, Recorder, Responses
from liveweights.serve.api.refusals import from_engine
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.api.shadow import Shadow
from liveweights.serve.models import Models

log = logging.getLogger(__name__)
MOST_NAMED = 100
"""Answers that a header names: clients take headers of 8 KB, some of no more."""


@dataclass(frozen=True, slots=True)
class Service:
    """What the handlers share."""

    models: Models
    recorder: Recorder
    settings: ApiSettings
    metrics: Metrics
    responses: Responses | None
    limiter: Limiter
    slots: Slots
    authenticator: Authenticator
    choices: Choices
    shadow: Shadow | None = None
    agent: Agent | None = None
    conversations: Conversations | None = None


class Shape(Protocol):
    """How one endpoint puts its drafts (the choices of one answer) into JSON.

    A draft's ``reason`` is set when its last token is there.
    """

    def whole(self, drafts: Sequence[Draft]) -> bytes:
        """The answer, not streamed."""
        ...

    def token(self, draft: Draft, token: Token) -> bytes:
        """The events for one token; none if there is nothing to tell yet."""
        ...

    def end(self, drafts: Sequence[Draft]) -> bytes:
        """The events after the last token."""
        ...

    def broken(self, error: ApiError) -> bytes:
        """The events that end a stream which cannot be completed."""
        ...


Settle = Callable[[], Awaitable[None]] | None


async def answer(
    service: Service,
    drafts: Sequence[Draft],
    shape: Shape,
    exchange: Exchange,
    *,
    stream: bool,
    settle: Settle = None,
) -> None:
    """Generate all drafts and send them. Raises ApiError while nothing has been sent.

    ``settle``, which only a single draft has, is awaited when it was generated and the end was not
    sent yet, and before it is recorded; it may raise ApiError.
    """
    await (_send_stream if stream else _send_whole)(service, drafts, shape, exchange, settle)


async def _send_whole(
    service: Service,
    drafts: Sequence[Draft],
    shape: Shape,
    exchange: Exchange,
    settle: Settle,
) -> None:
    try:
        there = await _generate_all(service, drafts, exchange, None, settle)
    except EngineError as error:
        raise from_engine(error) from error
    if there:
        await reply(exchange.send, 200, shape.whole(drafts), head_of(service, drafts, exchange))


async def _send_stream(
    service: Service,
    drafts: Sequence[Draft],
    shape: Shape,
    exchange: Exchange,
    settle: Settle,
) -> None:
    stream = EventStream(exchange.send, head_of(service, drafts, exchange))
    end = b""

    async def emit(draft: Draft, token: Token) -> None:
        nonlocal end
        events = shape.token(draft, token)
        if all(draft.reason for draft in drafts):
            end = events
        else:
            await stream.write(events)

    try:
        there = await _generate_all(service, drafts, exchange, emit, settle)
    except EngineError as error:
        if not stream.started:
            raise from_engine(error) from error
        ids = ", ".join(draft.id for draft in drafts)
        log.warning("%s on %s broke off: %s", ids, drafts[0].checkpoint, error)
        await stream.close(shape.broken(from_engine(error)))
        return
    except ApiError as error:
        if not stream.started:
            raise
        await stream.close(shape.broken(error))
        return
    except Exception:
        if stream.started:
            await stream.close(shape.broken(internal()))
        raise
    if there:
        await stream.close(end + shape.end(drafts))


Emit = Callable[[Draft, Token], Awaitable[None]]


async def _generate_all(
    service: Service,
    drafts: Sequence[Draft],
    exchange: Exchange,
    emit: Emit | None,
    settle: Settle,
) -> bool:
    """Whether the client is still there; then it is settled. Raises EngineError, ApiError 408 and
    what ``settle`` raises."""
    first = drafts[0]
    async with exchange.waited_for() as watch:
        if len(drafts) == 1:
            await generate(service, first, emit, watch, hold=settle is not None)
        else:
            await _generate_together(service, drafts, emit, watch)
    if first.pending:
        await settled(service, first, None if watch.gone else settle)
    return not watch.gone


async def settled(service: Service, draft: Draft, settle: Settle) -> None:
    """Record a draft that was sampled, once ``settle`` has passed. Where it raises, the client gets
    no more of the draft than what was sent, and it is recorded as broken off by us: the weights
    have not failed."""
    try:
        if settle is not None:
            await settle()
    except BaseException:
        await _record(service, draft, "cancelled", broken_off=True)
        raise
    await _record(service, draft, draft.reason or "stop")


async def _generate_together(
    service: Service, drafts: Sequence[Draft], emit: Emit | None, client: Client
) -> None:
    """All choices of one answer. Without ``emit`` they are sent together or not at all, so that
    they are recorded when all of them are there, or it is known that they will not be."""

    async def sample(draft: Draft) -> None:
        if emit is not None:
            await generate(service, draft, emit, client)
        else:
            last, _ = await _sample(service, draft, None, client)
            draft.reason = last.stop

    tasks = [asyncio.create_task(sample(draft)) for draft in drafts]
    whole = False
    try:
        await asyncio.gather(*tasks)
        whole = True
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if emit is None:
            broken_off = not (whole or client.gone)
            if not whole:
                for draft in drafts:
                    draft.stand_in()
            ended = [(draft, draft.reason) for draft in drafts if draft.reason is not None]
            records = (_record(service, *one, broken_off=broken_off) for one in ended)
            # Whoever gives up waiting for one of them must not lose the others.
            await asyncio.shield(asyncio.gather(*records))


async def generate(
    service: Service, draft: Draft, emit: Emit | None, client: Client, *, hold: bool = False
) -> None:
    """Fills the draft, gives every token to ``emit``, and records the result: before the last token
    is given, so that feedback can follow the answer at once. To ``hold`` it is to leave it pending,
    for ``settled``. Raises EngineError."""
    last, held = await _sample(service, draft, emit, client)
    reason = last.stop or "stop"
    if hold:
        draft.pending, draft.charged = True, draft.cost()
    else:
        await _record(service, draft, reason)
    try:
        if emit is not None and not draft.withheld:
            for earlier in held:
                await emit(draft, earlier)
        draft.reason = last.stop
        if emit is not None:
            await emit(draft, last)
    except BaseException:
        if draft.pending:
            await _record(service, draft, reason)
        raise


async def _sample(
    service: Service, draft: Draft, emit: Emit | None, client: Client
) -> tuple[Token, list[Token]]:
    """Fills the draft, and gives its tokens but for the last one to ``emit``; the last one, and
    those that are held back: tokens of a draft that may be withheld wait until it is known not to
    be.

    What was sampled is recorded here where the client leaves or something fails. Raises
    EngineError.
    """
    held: list[Token] = []
    try:
        async with aclosing(_tokens(draft)) as tokens:
            async for token in tokens:
                token = draft.add(token)
                if token.stop is not None:
                    return token, held
                if emit is None:
                    continue
                held.append(token)
                while held and not draft.undecided:
                    await emit(draft, held.pop(0))
                    draft.sent += 1
        raise EngineError("the answer ended without a reason to stop")
    except asyncio.CancelledError:
        draft.stand_in()
        await _record(service, draft, "cancelled", broken_off=not client.gone)
        raise
    except Exception as error:
        if isinstance(error, (PromptTooLong, InvalidConstraint)) and not draft.tokens:
            raise  # the request's own fault, found out before anything was sampled
        # What the user saw of a streamed answer can still draw feedback, and a canary is judged
        # by its failures.
        await _record(service, draft, "error", broken_off=True)
        raise


class _Tokens(Protocol):
    def __aiter__(self) -> _Tokens: ...

    async def __anext__(self) -> Token: ...

    async def aclose(self) -> None: ...


def _tokens(draft: Draft) -> _Tokens:
    iterator = draft.engine.generate(draft.checkpoint, draft.prompt_ids, draft.sampling)
    return cast(_Tokens, iterator)


async def _record(service: Service, draft: Draft, reason: str, *, broken_off: bool = False) -> None:
    if draft.caller.own:
        return
    service.metrics.answered(draft, reason)
    if draft.tokens or reason == "error":
        # Whoever gives up waiting for a slow database must not lose the row.
        generation = draft.finish(reason, broken_off=broken_off)
        await asyncio.shield(service.recorder.add_generation(generation))
    if service.shadow and reason in ("stop", "length"):
        service.shadow.offer(draft)


def head_of(
    service: Service, drafts: Sequence[Draft], exchange: Exchange
) -> list[tuple[bytes, bytes]]:
    """Headers that say which answers these are, unless they are many, which checkpoint of which
    model gave them, and what its terms ask to be said."""
    first = drafts[0]
    named = drafts if len(drafts) <= MOST_NAMED else ()
    ids = ", ".join(draft.id for draft in named).encode()
    return [
        *([(b"x-generation-id", ids)] if ids else []),
        (b"x-checkpoint", first.checkpoint.encode()),
        model_header(first.alias),
        *service.choices.headers(first.alias, first.caller.tenant),
        *exchange.headers,
    ]


def envelope(draft: Draft, object: str) -> dict[str, Any]:
    """What every answer and every chunk begins with; ``draft`` is the first choice."""
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

    __slots__ = ("heads", "tail", "usage_head")

    def __init__(self, drafts: Sequence[Draft], object: str, *, include_usage: bool) -> None:
        self.usage_head = msgspec.json.encode(envelope(drafts[0], object))[:-1] + b',"choices":['
        self.heads = [self.usage_head + b'{"index":%d,' % draft.index for draft in drafts]
        self.tail = b'}],"usage":null}' if include_usage else b"}]}"

    def chunk(self, draft: Draft, body: bytes, reason: str | None) -> bytes:
        """One event. ``body`` holds the choice's own members, each followed by a comma."""
        if reason is None:
            end = b'"finish_reason":null'
        else:
            end = b'"finish_reason":"%s","generation":"%s"' % (reason.encode(), draft.id.encode())
        return event(self.heads[draft.index] + body + end + self.tail)

    def usage(self, drafts: Sequence[Draft]) -> bytes:
        encoded = msgspec.json.encode(usage(drafts))
        return event(self.usage_head + b'],"usage":' + encoded + b"}")


def usage(drafts: Sequence[Draft]) -> Usage:
    """Of the whole answer. A prompt with several choices is counted once."""
    prompts = {id(draft.prompt_ids): len(draft.prompt_ids) for draft in drafts}
    prompt = sum(prompts.values())
    completion = sum(len(draft.tokens) for draft in drafts)
    details = CompletionDetails(sum(draft.thought_tokens for draft in drafts))
    return Usage(
        prompt,
        completion,
        prompt + completion,
        completion_tokens_details=details,
        **cost_of(drafts),
    )


def cost_of(drafts: Sequence[Draft]) -> dict[str, Any]:
    """``cost`` and ``currency`` of a whole answer; nothing where it has no price."""
    price = drafts[0].held.price
    if price is None:
        return {}
    # A float of 15 digits says the amount exactly; what is charged is never computed with it.
    cost = sum(draft.cost() for draft in drafts) / NANOS
    return {"cost": cost, "currency": price.currency}
