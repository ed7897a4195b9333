"""Reading a stream in few goes, and yet in time for its end."""

from __future__ import annotations

from liveweights.serve.gateway.events import DONE, EventStream
from liveweights.serve.gateway.transcript import Transcript

HELD = 1 << 14
"""Bytes that may wait to be read."""


class Reader:
    """Chunks into a transcript. Many events read at once cost half of what they cost one by one,
    so whole ones that cannot end the answer wait, up to ``HELD`` bytes."""

    __slots__ = ("_events", "_held", "_size", "_transcript")

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript
        self._events = EventStream()
        self._held: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes) -> None:
        """Raises ValueError for what cannot be read, in this chunk or one before."""
        self._held.append(chunk)
        self._size += len(chunk)
        # One of these texts is in each event that can end an answer; within text, quotes have a
        # backslash before them.
        if (
            not chunk.endswith(b"}\n\n")
            or DONE in chunk
            or b'"response"' in chunk
            or b'"output"' in chunk
            or self._size > HELD
            or self._events.cut
        ):
            self.flush()

    def flush(self) -> None:
        """Read what waits. Raises ValueError for what cannot be read."""
        text = b"".join(self._held)
        self._held, self._size = [], 0
        for data in self._events.feed(text):
            self._transcript.add_event(data)
