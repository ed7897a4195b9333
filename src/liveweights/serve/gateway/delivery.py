"""An upstream's answer on its way to the caller, and into the record."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass

from starlette.types import Send

from liveweights.http.streaming import send_chunk
from liveweights.http.wire import ClientGone
from liveweights.meter.limits import Permit
from liveweights.record.errors import WriterClosed
from liveweights.serve.api.recorder import Recorder
from liveweights.serve.gateway.access import Access
from liveweights.serve.gateway.answer import Answer
from liveweights.serve.gateway.headers import RawHeader
from liveweights.serve.gateway.listener import Listener
from liveweights.serve.gateway.metrics import GatewayMetrics
from liveweights.serve.gateway.passage import Passage
from liveweights.serve.gateway.transcript import LONGEST

log = logging.getLogger(__name__)

_LONGEST_EVENT = 1 << 14
"""Bytes of a stream that are held back at most for its first event to be whole."""
RECORD_SECONDS = 5.0
"""How long an answer may wait for a place in the record."""


def is_readable(answer: Answer) -> bool:
    """Whether it can be recorded: no error, and not compressed."""
    return answer.head.status == 200 and "content-encoding" not in answer.head.headers


@dataclass(frozen=True, slots=True)
class Delivery:
    """Gives answers to callers byte for byte, and the record what they said.

    The row joins the record before the client can have the answer's last byte, so that feedback
    may follow at once; and whose an object is (``access``), before the client can have its id.
    """

    recorder: Recorder
    metrics: GatewayMetrics
    access: Access | None

    async def deliver(
        self, answer: Answer, headers: list[RawHeader], send: Listener, passage: Passage | None
    ) -> None:
        """The whole answer under these headers; without ``passage`` nothing is recorded. Raises
        ClientGone once nobody waits for it; an answer in one piece is recorded before."""
        if passage is None:
            await pass_on(answer, headers, send)
            return
        send.streams = answer.head.content_type == "text/event-stream"
        if send.streams:
            await self._pass_events(answer, headers, send, passage)
        else:
            await self._pass_whole(answer, headers, send, passage)

    async def settle(self, passage: Passage, permit: Permit, *, abandoned: bool) -> None:
        """However the delivery ended: what was cut short, by either side, is recorded, and what
        was used is charged. ``abandoned``: it was not waited for any longer."""
        try:
            if abandoned and not passage.has_answer:
                self.metrics.unrecorded.labels("abandoned").inc()
                log.warning("%s: the answer of %s did not come in time", passage.id, passage.model)
            elif not passage.recorded:
                await self._record(passage)
        finally:
            permit.charge(passage.model, passage.counts(), passage.created_at)

    async def _pass_events(
        self, answer: Answer, headers: list[RawHeader], send: Send, passage: Passage
    ) -> None:
        started, ended, held = not passage.is_versioned, False, b""
        if started:
            await _start(send, answer, [*headers, *_named(passage)])
        while not ended:
            chunk = await answer.part()
            ended = answer.ended
            passage.add_chunk(chunk)
            if (ended or passage.transcript.done) and not passage.recorded:
                await self._record(passage)
            await self._remember(passage)
            if not started:
                # The first event says which version answers, which stands in the head.
                held += chunk
                passage.look()
                if not (ended or passage.has_version or _has_event(held)):
                    continue
                started, chunk = True, held
                await _start(send, answer, [*headers, *_named(passage)])
            await send_chunk(send, chunk, more=not ended)

    async def _pass_whole(
        self, answer: Answer, headers: list[RawHeader], send: Listener, passage: Passage
    ) -> None:
        body = await answer.whole(LONGEST)
        passage.unsent = send.late
        send.complete = answer.ended
        if not answer.ended:
            await self._pass_long(answer, headers, send, passage, first=body)
            return
        passage.add_whole(body)
        known = await self._record(passage)
        await self._remember(passage)
        await pass_on(answer, [*headers, *_named(passage)] if known else headers, send, body)

    async def _pass_long(
        self,
        answer: Answer,
        headers: list[RawHeader],
        send: Listener,
        passage: Passage,
        *,
        first: bytes,
    ) -> None:
        """One that is too long to be kept, of which ``first`` was read already. What it used is
        charged, and is read to its end for that."""
        with suppress(ClientGone):
            await _start(send, answer, headers)
        part = first
        while True:
            passage.skim(part)
            if answer.ended:
                if not passage.has_answer:
                    passage.give_up(ValueError(f"it is longer than {LONGEST} bytes"))
                await self._record(passage)
            with suppress(ClientGone):
                await send_chunk(send, part, more=not answer.ended)
            if answer.ended:
                return
            part = await answer.part()

    async def _remember(self, passage: Passage) -> None:
        """Whose the answer is, if the upstream keeps it."""
        access = self.access
        if access is not None and (made := passage.made):
            await access.owners.remember(passage.tenant, made)

    async def _record(self, passage: Passage) -> bool:
        """Whether it joined the record. Whatever goes wrong here is counted, and the answer
        passes: the upstream has given it, and somebody pays for it."""
        metrics = self.metrics
        try:
            async with asyncio.timeout(RECORD_SECONDS):
                await self._add(passage)
        except Exception as error:  # not a cancellation: then ``settle`` goes on with the rest
            passage.recorded = True
            reason = _reason(error)
            metrics.unrecorded.labels(reason).inc()
            log.error("%s: the answer passes unrecorded (%s)", passage.id, reason, exc_info=error)
            return False
        passage.recorded = True
        if passage.unreadable:
            metrics.unrecorded.labels("unreadable").inc()
        return not passage.unreadable

    async def _add(self, passage: Passage) -> None:
        metrics = self.metrics
        model = metrics.model(passage.model)
        rows = passage.pending()
        while rows:
            generation = rows[0]
            await self.recorder.add_generation(generation)
            rows.popleft()
            metrics.generations.labels(
                model,
                metrics.checkpoint(generation.checkpoint),
                metrics.reason(generation.finish_reason),
            ).inc()
        for field in passage.unfit:
            metrics.unfit.labels(field).inc()
        counts = passage.counts()
        metrics.tokens.labels(model, "prompt").inc(counts.prompt)
        metrics.tokens.labels(model, "completion").inc(counts.output)


def _reason(error: Exception) -> str:
    if isinstance(error, WriterClosed):
        return "closing"
    return "slow" if isinstance(error, TimeoutError) else "refused"


async def pass_on(answer: Answer, headers: list[RawHeader], send: Send, first: bytes = b"") -> None:
    """The whole answer, of which ``first`` was read already."""
    await _start(send, answer, headers)
    ended = answer.ended
    if first or ended:
        await send_chunk(send, first, more=not ended)
    while not ended:
        chunk = await answer.part()
        ended = answer.ended
        await send_chunk(send, chunk, more=not ended)


async def _start(send: Send, answer: Answer, headers: list[RawHeader]) -> None:
    status = answer.head.status
    await send({"type": "http.response.start", "status": status, "headers": headers})


def _named(passage: Passage) -> list[RawHeader]:
    """The answer's id, and that of the version which gave it, as far as that is known."""
    named = [(b"x-generation-id", passage.id.encode())]
    if passage.is_versioned and (passage.has_version or passage.recorded):
        named.append((b"x-checkpoint", passage.settle_checkpoint().encode()))
    return named


def _has_event(head: bytes) -> bool:
    """Whether a stream's first event, or more than any has, is there."""
    return b"\n\n" in head or b"\r\n\r\n" in head or len(head) > _LONGEST_EVENT
