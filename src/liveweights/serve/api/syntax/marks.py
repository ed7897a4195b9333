"""Finding marks in an answer: by their tokens where they have some, else in its text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from liveweights.engines.protocol import Token


@dataclass(frozen=True, slots=True)
class Mark:
    """One that the model wrote; ``text`` is how it is spelled."""

    text: str


Piece = str | Mark


class MarkScanner:
    """Cuts the text of an answer at marks. ``marks`` has the id of each, None where it is ordinary
    text. One that has a token of its own and is spelled out is text: it is quoted."""

    def __init__(self, marks: Mapping[str, int | None]) -> None:
        self._spelled = [mark for mark, id in marks.items() if id is None]
        self._tokens = {id: mark for mark, id in marks.items() if id is not None}
        self._held = ""

    def push(self, token: Token) -> list[Piece]:
        """What the next token says; the end of its text waits where a mark may begin in it."""
        mark = self._tokens.get(token.id)
        if mark is None:
            return self._cut(token.text, last=False)
        return [*self._cut(token.text.removesuffix(mark), last=True), Mark(mark)]

    def finish(self) -> list[Piece]:
        """What was waiting, as text."""
        return self._cut("", last=True)

    def _cut(self, text: str, *, last: bool) -> list[Piece]:
        text, self._held = self._held + text, ""
        pieces: list[Piece] = []
        while text:
            first = min(
                ((at, mark) for mark in self._spelled if (at := text.find(mark)) >= 0),
                default=None,
            )
            if first is None:
                break
            at, mark = first
            pieces += [text[:at], Mark(mark)] if at else [Mark(mark)]
            text = text[at + len(mark) :]
        if not last:
            text, self._held = self._part(text)
        return [*pieces, text] if text else pieces

    def _part(self, text: str) -> tuple[str, str]:
        """What is certain, and what may be the beginning of a mark."""
        longest = max(map(len, self._spelled), default=1) - 1
        for length in range(min(longest, len(text)), 0, -1):
            end = text[-length:]
            if any(mark.startswith(end) for mark in self._spelled):
                return text[:-length], end
        return text, ""
