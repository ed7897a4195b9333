"""Who waits for an answer, and for how long it is read on once nobody does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager

from starlette.types import Message, Receive, Send

from liveweights.http.errors import ApiError
from liveweights.http.exchange import too_late
from liveweights.http.streaming import disconnected, until
from liveweights.http.wire import ClientGone, reply
from liveweights.meter.leases import LeasesAway
from liveweights.meter.limits import LimitReached

_TOLD = (ApiError, LimitReached, LeasesAway)
"""Failures that a client is told of."""


class Listener:
    """Where an answer is sent: ASGI's ``send``, which raises ClientGone once nobody waits.

    ``streams`` is whether the answer comes in pieces, as far as is known. A stream ends when its
    client leaves; the rest of an answer in one piece is read for ``rest`` seconds more, because
    its upstream computes and charges the whole of it either way.
    """

    __slots__ = ("_send", "abandoned", "complete", "gone", "late", "rest", "started", "streams")

    def __init__(self, send: Send, *, streams: bool, rest: float) -> None:
        self._send = send
        self.streams = streams
        self.rest = rest
        self.started = False
        """Whether something has been sent."""
        self.complete = False
        """Whether all of it has come, so that it is not late any more."""
        self.gone = False
        """Whether nobody waits any more."""
        self.late = False
        """Whether that is so because the deadline has passed."""
        self.abandoned = False
        """Whether an answer in one piece was given up, because the rest of it did not come."""

    def __call__(self, message: Message) -> Awaitable[None]:
        if self.gone:
            raise ClientGone
        self.started = True
        return self._send(message)

    async def tell(self) -> None:
        """Say that the deadline has passed, unless the answer has begun: then it is cut."""
        if not self.started:
            error = too_late()
            await reply(self._send, error.status, error.body(), error.headers)


@asynccontextmanager
async def while_heard(
    receive: Receive, listener: Listener, deadline: float | None = None
) -> AsyncGenerator[None]:
    """Cancels the block once nobody has waited for its answer for as long as it may be read on,
    and swallows only that: since the client went away, or since the ``deadline`` (in the event
    loop's time), of which it is told. The body must have been read. Raises ClientGone for what a
    client would be told that is not there any more."""

    async def watch() -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await disconnected(receive)
        except TimeoutError:
            listener.late = not listener.complete
            if listener.complete:
                await disconnected(receive)
        listener.gone = True
        if listener.late:
            await listener.tell()
        if not listener.streams:
            await asyncio.sleep(listener.rest)
            listener.abandoned = True

    try:
        async with until(watch):
            yield
    except _TOLD as error:
        if not listener.gone:
            raise
        raise ClientGone from error
