"""Which text a suggestion is asked with: what stands before and behind the cursor, and pieces of
other open files. Pure.

Tokens are counted as ``CHARACTERS`` characters each, which is short for code, so that a budget is
rather not used up than exceeded.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from liveweights.editor.text import end_of_line

CHARACTERS = 3
LINES = 16
"""Of a piece of another file."""
LEAST_OVERLAP = 0.1
"""Share of the words of both that a piece has in common with what is being written (Jaccard's
index)."""
CLOSING = frozenset(")]}>\"'`:;,. \t")
"""What may stand behind a cursor at which a model is asked that is not told what stands there."""

_WORD = re.compile(r"[^\W\d]\w{2,}")
_HASH = frozenset(
    ("dockerfile", "elixir", "julia", "makefile", "perl", "python", "r", "ruby", "shellscript")
)
_DASHES = frozenset(("haskell", "lua", "sql"))


class Other(NamedTuple):
    """Another open file."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Context:
    before: str
    after: str


class _Piece(NamedTuple):
    overlap: float
    name: str
    text: str


def is_worth_asking(text: str, offset: int, *, infill: bool) -> bool:
    """Whether there is something to be suggested: something stands before the cursor, and behind
    it on its line nothing that the model would have to know."""
    if not text[:offset].strip():
        return False
    return infill or CLOSING.issuperset(text[offset : end_of_line(text, offset)])


def select(
    text: str,
    offset: int,
    *,
    tokens: int,
    infill: bool,
    language: str = "",
    others: Sequence[Other] = (),
) -> Context:
    """The context at ``offset``, of at most ``tokens`` tokens.

    Where the model fills in, a quarter is for what stands behind the cursor. Of the rest at most a
    quarter is for pieces of ``others``, where some have enough in common with what is written. What
    begins stays the same while the cursor moves on by half a window, so that an engine has nearly
    all of the next prompt computed already.
    """
    room = tokens * CHARACTERS
    after = text[offset : offset + room // 4] if infill else ""
    room -= len(after)
    line = text.rfind("\n", 0, offset) + 1
    start = _window_start(text, offset, room - room // 4)
    pieces = _find_pieces(text[start:line], others, room // 4, language)
    start = _window_start(text, offset, room - room // 4 if pieces else room)
    return Context(pieces + text[start:offset], after)


def cut_overlap(answer: str, tail: str) -> tuple[str, str]:
    """What of an answer is shown where ``tail`` stands behind the cursor on its line, and what is
    not, because it stands there."""
    tail = tail.rstrip()
    for size in range(min(len(answer), len(tail)), 0, -1):
        if answer.endswith(tail[:size]):
            return answer[:-size], answer[-size:]
    return answer, ""


def _window_start(text: str, offset: int, window: int) -> int:
    """Where a prompt of at most ``window`` characters begins: at a line, and at the same one for
    half a window of cursors."""
    half = max(1, window // 2)
    start = max(0, offset // half - 1) * half
    if not start:
        return 0
    newline = text.find("\n", start - 1, offset)
    return start if newline < 0 else newline + 1


def _find_pieces(query: str, others: Sequence[Other], room: int, language: str) -> str:
    """The pieces that have most in common with ``query``, the best one last."""
    words = set(_WORD.findall(query))
    pieces = [
        _Piece(overlap, other.name, piece)
        for other in others
        for piece in _split(other.text)
        if (overlap := _overlap(words, piece)) >= LEAST_OVERLAP
    ]
    kept = list[str]()
    for piece in sorted(pieces, reverse=True):
        told = _comment(piece.name, language) + piece.text.strip("\n") + "\n\n"
        if len(told) <= room:
            kept.append(told)
            room -= len(told)
    return "".join(reversed(kept))


def _split(text: str) -> list[str]:
    lines = text.splitlines(keepends=True)
    return ["".join(lines[start : start + LINES]) for start in range(0, len(lines), LINES)]


def _overlap(words: set[str], piece: str) -> float:
    others = set(_WORD.findall(piece))
    return len(words & others) / max(1, len(words | others))


def _comment(name: str, language: str) -> str:
    sign = "#" if language in _HASH else "--" if language in _DASHES else "//"
    return f"{sign} {name}\n"
