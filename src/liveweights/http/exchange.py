"""One request's connection: where its answer goes, and until when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.datastructures import Headers
from starlette.types import Receive, Send

from liveweights.http.errors import ApiError, bad_request
from liveweights.http.streaming import Client, while_connected
from liveweights.meter.limits import Permit

TIMEOUT = "x-request-timeout"


@dataclass(slots=True)
class Exchange:
    """The body has been read. ``deadline`` is in the event loop's time."""

    receive: Receive
    send: Send
    deadline: float
    permit: Permit
    names: tuple[str, ...] = ()
    """Of the models that may answer, where they are chosen already."""
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())
    """What every answer to this request carries."""
    strict: bool = False
    """Whether what changes nothing is refused."""
    ignored: list[str] = field(default_factory=list[str])
    """Parameters of the request that change nothing here."""

    @asynccontextmanager
    async def waited_for(self) -> AsyncGenerator[Client]:
        """Cancels the block when the client goes away (then ``gone`` is set) or when the
        deadline passes (raises ApiError 408)."""
        limit = asyncio.timeout_at(self.deadline)
        try:
            async with limit, while_connected(self.receive) as client:
                yield client
        except TimeoutError:
            if not limit.expired():
                raise
            raise too_late() from None


def deadline_of(headers: Headers, longest: float) -> float:
    """Raises ApiError 400."""
    value = headers.get(TIMEOUT)
    seconds = longest
    if value is not None:
        try:
            seconds = float(value)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds < float("inf"):
            raise bad_request(f"'{TIMEOUT}' is {value[:50]!r}; give seconds above 0.", TIMEOUT)
    return asyncio.get_running_loop().time() + min(seconds, longest)


def too_late() -> ApiError:
    message = "The answer was not complete at the request's deadline."
    return ApiError(408, message, type="timeout_error", code="deadline_exceeded")
