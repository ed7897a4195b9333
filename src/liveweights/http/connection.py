"""One client's connection: what it may send, and how long it may keep the server waiting."""

from __future__ import annotations

import asyncio
import math
from typing import Any, ClassVar

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from liveweights.http.errors import ApiError
from liveweights.http.settings import ConnectionSettings

FIELD = 32
"""Bytes that a header is counted with beside its text: RFC 9113, section 6.5.2."""
BODY_RATE = 4096
"""Bytes of a body that give one second more for the rest of it."""
LINGER = 1.0
"""Seconds in which a client that was refused may read why; what it sends is thrown away."""
UNREAD = 5.0
"""Seconds for the rest of a body whose answer has been sent already."""
LOOK = 5.0
"""Most seconds between two looks at a connection."""


class Connection(HttpToolsProtocol):
    """uvicorn's, with bounds. Make one class for each server with ``bounded``."""

    limits: ClassVar[ConnectionSettings]
    waited_for: ClassVar[dict[Connection, None]]
    """Those whose clients keep the server waiting, for a head or a body, the longest first."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._head = 0
        """Size of the present request's head, as far as it has been read."""
        self._unread = 0
        """Bytes that have come since the parser said anything."""
        self._due = math.inf
        """When what the client is waited for must be there, in the loop's time."""
        self._in_body = False
        self._refused = False
        self._stuck = math.inf
        """Since when the client has not taken what it was sent."""
        self._watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        self._wait(self.limits.header_seconds)
        self._watch = self.loop.call_later(self._pause(), self._look)
        if len(self.connections) > self.limits.max:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self.waited_for.pop(self, None)
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        self._unset_keepalive_if_required()
        if self._due == math.inf and self._answered():  # another request begins
            self._due = self.loop.time() + self.limits.header_seconds
        self._unread += len(data)
        parser = self.parser
        assert parser is not None  # until the connection is lost
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # no other protocol is spoken here: the request is answered as it is
        except httptools.HttpParserError:
            if not self._refused:
                self._refuse(400, "This is not an HTTP request.", "invalid_request")
            return
        self._check_head()

    def on_message_begin(self) -> None:
        self._head = self._unread = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._read_head(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._read_head(len(name) + len(value) + FIELD)
        if not self._in_body:  # trailers are for nobody here
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._unread = 0
        super().on_headers_complete()
        self._in_body = True
        self._wait(self.limits.body_seconds)

    def on_body(self, body: bytes) -> None:
        self._unread = 0
        if not self.cycle.response_complete:
            self._due += len(body) / BODY_RATE
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._unread = 0
        self._in_body = False
        self._due = math.inf
        self.waited_for.pop(self, None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self._in_body:
            self._due = min(self._due, self.loop.time() + UNREAD)
        elif self._answered():  # uvicorn's own timer closes it, if no other request comes
            self._wait(math.inf)

    def pause_writing(self) -> None:
        self._stuck = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._stuck = math.inf
        super().resume_writing()

    def _answered(self) -> bool:
        cycle: RequestResponseCycle | None = self.cycle
        return cycle is None or cycle.response_complete  # pyright: ignore[reportUnnecessaryComparison]

    def _wait(self, seconds: float) -> None:
        self._due = self.loop.time() + seconds
        self.waited_for.pop(self, None)
        self.waited_for[self] = None

    def _read_head(self, size: int) -> None:
        self._unread = 0
        self._head += size
        self._check_head()
        if self._refused:
            raise ValueError("the head is too large")  # ends the parsing

    def _check_head(self) -> None:
        most = self.limits.header_bytes
        if self._head + self._unread > most and not self._refused:
            message = f"The request's headers are larger than {most} bytes."
            self._refuse(431, message, "headers_too_large")

    def _pause(self) -> float:
        limits = self.limits
        return min(LOOK, limits.header_seconds, limits.body_seconds, limits.send_seconds)

    def _look(self) -> None:
        """Whether the client keeps us waiting. One timer that looks now and then costs a request
        less than a timer of its own would."""
        now = self.loop.time()
        if self.transport.is_closing():  # and what was sent does not go out
            self._stuck = min(self._stuck, now)
        if now - self._stuck >= self.limits.send_seconds:
            self.transport.abort()
            return
        if now >= self._due and not self._refused:
            if self.flow.read_paused:  # it is we who do not read
                self._due = now + self.limits.body_seconds
            else:
                self._give_up()
        self._watch = self.loop.call_later(self._pause(), self._look)

    def _give_up(self) -> None:
        what = "body" if self._in_body else "headers"
        if self._in_body or self._head or self._unread:
            message = f"The request's {what} did not come in time."
            self._refuse(408, message, "request_timeout")
        else:
            self.transport.close()

    def _make_room(self) -> None:
        """Close the connection that has been waited for the longest, or this one."""
        longest = next(iter(self.waited_for))
        if longest is not self:
            # It counts no more, even if it is closed only after this.
            self.connections.discard(longest)
            self.waited_for.pop(longest, None)
            longest.transport.abort()
        else:
            self.connections.discard(self)
            self._refuse(503, f"All {self.limits.max} connections are in use.", "too_busy")

    def _refuse(self, status: int, message: str, code: str) -> None:
        """Say what is wrong, read nothing more, and close."""
        self._refused = True
        self.waited_for.pop(self, None)
        begun = False
        if not self._answered():
            begun = self.cycle.response_started
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if begun:
            self.transport.close()
            return
        kind = "server_error" if status >= 500 else "invalid_request_error"
        body = ApiError(status, message, type=kind, code=code).body()
        lines = (
            STATUS_LINE[status].removesuffix(b"\r\n"),
            b"content-type: application/json",
            b"content-length: %d" % len(body),
            b"connection: close",
            *(b"retry-after: 1" for _ in range(status == 503)),
        )
        self.transport.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        if status != 503 and self.transport.can_write_eof():
            # Closing now could take the answer from a client that still sends.
            self.transport.write_eof()
            self.loop.call_later(LINGER, self.transport.abort)
        else:
            self.transport.close()


def bounded(settings: ConnectionSettings) -> type[Connection]:
    """The connections of one server."""

    class Bounded(Connection):
        limits = settings
        waited_for: ClassVar[dict[Connection, None]] = {}

    return Bounded
