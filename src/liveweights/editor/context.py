"""Which text a suggestion is asked with: what stands before and behind the cursor, and pieces of
other open files, without a line that holds a secret. Pure.

Tokens are counted as ``CHARACTERS`` characters each, which is short for code, so that a budget is
rather not used up than exceeded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from liveweights.editor.secrets import find_end, find_start, has_secret
from liveweights.editor.text import CLOSED_BY, end_of_line

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
    other: Other
    start: int
    end: int


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
    name: str = "",
    language: str = "",
    others: Sequence[Other] = (),
) -> Context | None:
    """The context at ``offset`` of the file ``name``, of at most ``tokens`` tokens; None where
    nothing before the cursor may be sent.

    Where the model fills in, a quarter is for what stands behind the cursor. Of the rest at most a
    quarter is for pieces of ``others``, where some have enough in common with what is written. What
    begins stays the same while the cursor moves on by half a window, so that an engine has nearly
    all of the next prompt computed already.
    """
    room = tokens * CHARACTERS
    end = min(len(text), offset + room // 4) if infill else offset
    room -= end - offset

    def before(window: int) -> int:
        return find_start(text, name, _window_start(text, offset, window), offset)

    line = text.rfind("\n", 0, offset) + 1
    pieces = _find_pieces(text[before(room - room // 4) : line], others, room // 4, language)
    start = before(room - room // 4 if pieces else room)
    if not text[start:offset].strip():
        return None
    return Context(pieces + text[start:offset], text[offset : find_end(text, name, offset, end)])


def cut_overlap(answer: str, tail: str, *, infill: bool) -> tuple[str, str]:
    """What of an answer is shown where ``tail`` stands behind the cursor on its line, and what is
    not, because it stands there. A model that fills in was told the tail, and has written it again
    only where that closes what the answer did not open."""
    tail = tail.rstrip()
    for size in range(min(len(answer), len(tail)), 0, -1):
        shown, overlap = answer[:-size], answer[-size:]
        if tail.startswith(overlap) and (not infill or _closes_what_stood(shown, overlap)):
            return shown, overlap
    return answer, ""


def _closes_what_stood(shown: str, overlap: str) -> bool:
    """Whether ``overlap``, behind ``shown``, closes something, and nothing that ``shown`` opens."""
    closing = False
    for opens, closes in CLOSED_BY.items():
        if opens == closes:
            closed, opened = overlap.count(closes) % 2, shown.count(opens) % 2
        else:
            closed = overlap.count(closes) - overlap.count(opens)
            opened = shown.count(opens) - shown.count(closes)
        if closed > 0 and opened > 0:
            return False
        closing = closing or closed > 0
    return closing


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
    """The pieces that have most in common with ``query``, the best one last. One with a line that
    holds a secret is none."""
    words = set(_WORD.findall(query))
    pieces = [
        _Piece(overlap, other, start, end)
        for other in others
        for start, end in _split(other.text)
        if (overlap := _overlap(words, other.text[start:end])) >= LEAST_OVERLAP
    ]
    kept = list[str]()
    for _, other, start, end in sorted(pieces, reverse=True):
        told = _comment(other.name, language) + other.text[start:end].strip("\n") + "\n\n"
        if len(told) <= room and not has_secret(other.text, other.name, start, end):
            kept.append(told)
            room -= len(told)
    return "".join(reversed(kept))


def _split(text: str) -> Iterator[tuple[int, int]]:
    """Where each piece begins and ends."""
    start = 0
    while start < len(text):
        end = start
        for _ in range(LINES):
            end = min(len(text), end_of_line(text, end) + 1)
        yield start, end
        start = end


def _overlap(words: set[str], piece: str) -> float:
    others = set(_WORD.findall(piece))
    return len(words & others) / max(1, len(words | others))


def _comment(name: str, language: str) -> str:
    sign = "#" if language in _HASH else "--" if language in _DASHES else "//"
    return f"{sign} {name}\n"
