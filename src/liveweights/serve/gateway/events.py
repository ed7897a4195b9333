"""Server-sent events out of chunks that are cut anywhere."""

from __future__ import annotations

DONE = b"[DONE]"
_LONGEST = 1 << 24


class EventStream:
    """The data of each event, as soon as its last byte is there (WHATWG HTML, section 9.2).

    Event names are not needed: in OpenAI's dialect the data says what it is.
    """

    __slots__ = ("_held", "_return", "_size")

    def __init__(self) -> None:
        self._held: list[bytes] = []  # the event that has begun, without the returns
        self._size = 0
        self._return = False  # a CR at the very end may be the first half of CRLF

    @property
    def cut(self) -> bool:
        """Whether an event has begun and its end has not come."""
        return bool(self._held) or self._return

    def feed(self, chunk: bytes) -> list[bytes]:
        """Events completed by ``chunk``. Raises ValueError for one that does not end."""
        if self._return or b"\r" in chunk:
            chunk = self._without_returns(chunk)
        if self._held:
            if not self._ends_in(chunk):
                self._hold(chunk)  # not looked at again before its end comes
                return []
            chunk = b"".join([*self._held, chunk])
            self._held, self._size = [], 0
        *blocks, rest = chunk.split(b"\n\n")
        self._hold(rest)
        return [data for block in blocks if (data := _data(block))]

    def _ends_in(self, chunk: bytes) -> bool:
        """Whether ``chunk`` has the end of the event that is held."""
        return b"\n\n" in chunk or (self._held[-1].endswith(b"\n") and chunk.startswith(b"\n"))

    def _without_returns(self, chunk: bytes) -> bytes:
        text = b"\r" + chunk if self._return else chunk
        self._return = text.endswith(b"\r")
        text = text.removesuffix(b"\r")
        return text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _hold(self, part: bytes) -> None:
        if part:
            self._held.append(part)
            self._size += len(part)
        if self._size > _LONGEST:
            raise ValueError(f"an event of more than {_LONGEST} bytes")


def _data(block: bytes) -> bytes:
    if block.startswith(b"data: ") and b"\n" not in block:  # nearly all of them
        return block[6:]
    lines: list[bytes] = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines)
