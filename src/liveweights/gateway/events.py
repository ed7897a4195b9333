"""Server-sent events out of chunks that are cut anywhere."""

from __future__ import annotations

DONE = b"[DONE]"
_LONGEST = 1 << 24


class EventStream:
    """The data of each event, as soon as its last byte is there (WHATWG HTML, section 9.2).

    Event names are not needed: in OpenAI's dialect the data says what it is.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held = b""

    @property
    def cut(self) -> bool:
        """Whether an event has begun and its end has not come."""
        return bool(self._held)

    def feed(self, chunk: bytes) -> list[bytes]:
        """Events completed by ``chunk``. Raises ValueError for one that does not end."""
        text = self._held + chunk if self._held else chunk
        if b"\r" in text:
            # A CR at the very end may be the first half of CRLF.
            text, kept = (text[:-1], b"\r") if text.endswith(b"\r") else (text, b"")
            text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") + kept
        *blocks, self._held = text.split(b"\n\n")
        if len(self._held) > _LONGEST:
            raise ValueError(f"an event of more than {_LONGEST} bytes")
        return [data for block in blocks if (data := _data(block))]


def _data(block: bytes) -> bytes:
    if block.startswith(b"data: ") and b"\n" not in block:  # nearly all of them
        return block[6:]
    lines: list[bytes] = []
    for line in block.split(b"\n"):
        name, _, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" "))
    return b"\n".join(lines)
