"""The text of an open document: positions, changes, and what a change replaced. Pure.

Positions are those of the Language Server Protocol: lines from 0, and characters counted in units
of an encoding that client and server agreed on. Line ends are ``\\n`` here, whatever the file has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Encoding = Literal["utf-8", "utf-16", "utf-32"]
UNITS = {"utf-8": ("utf-8", 1), "utf-16": ("utf-16-le", 2), "utf-32": ("utf-32-le", 4)}
"""By encoding: the codec, and bytes per unit."""
CLOSED_BY = {"(": ")", "[": "]", "{": "}", '"': '"', "'": "'", "`": "`"}
"""By the bracket or quote that opens: what closes it, which editors write by themselves."""
_HALF = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Place:
    line: int
    character: int


@dataclass(frozen=True, slots=True)
class Change:
    """``text`` in place of what stood from ``start`` to ``end``; without these, of everything."""

    text: str
    start: Place | None = None
    end: Place | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """From ``start`` on, ``removed`` characters became ``inserted``. The two neither begin nor end
    alike: an editor that writes a whole line again for one letter is read as that letter."""

    start: int
    removed: int
    inserted: str


def clean(text: str) -> str:
    """The same with every line end as ``\\n``, and U+FFFD, which has as many units in every
    encoding, for each half of a surrogate pair that has no other: UTF-8 has none."""
    return _HALF.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))


def offset_of(text: str, place: Place, encoding: Encoding = "utf-16") -> int:
    """Characters before a place. A place behind its line's end, or behind the text's, is that
    end."""
    start = 0
    for _ in range(place.line):
        newline = text.find("\n", start)
        if newline < 0:
            return len(text)
        start = newline + 1
    line = text[start : end_of_line(text, start)]
    if line.isascii():
        return start + min(place.character, len(line))
    codec, size = UNITS[encoding]
    head = line.encode(codec, "surrogatepass")[: place.character * size]
    return start + len(head.decode(codec, "ignore"))


def end_of_line(text: str, offset: int) -> int:
    """Where the line that holds ``offset`` ends."""
    newline = text.find("\n", offset)
    return len(text) if newline < 0 else newline


def apply(text: str, change: Change, encoding: Encoding = "utf-16") -> tuple[str, Edit]:
    """The text after a change, and what that replaced."""
    start = 0 if change.start is None else offset_of(text, change.start, encoding)
    end = len(text) if change.end is None else offset_of(text, change.end, encoding)
    end = max(start, end)
    removed, inserted = text[start:end], clean(change.text)
    after = text[:start] + inserted + text[end:]
    head = common(removed, inserted)
    removed, inserted = removed[head:], inserted[head:]
    tail = common(removed[::-1], inserted[::-1])
    edit = Edit(start + head, len(removed) - tail, inserted[: len(inserted) - tail])
    return after, edit


def common(one: str, other: str) -> int:
    """How many characters both begin with."""
    most = min(len(one), len(other))
    if one[:most] == other[:most]:
        return most
    low = 0
    while low < most:
        middle = (low + most + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            most = middle - 1
    return low
