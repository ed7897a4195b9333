"""How much of an answer is left after the user's edits."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Sequence

LONGEST = 2**17
"""Of a longer answer, so many characters are looked at."""
SPAN = 4
MARGIN = 1000
"""Of the surviving text, ``SPAN`` times the answer's length and ``MARGIN`` characters are read."""
STEPS = 200_000
"""Most pairs of equal pieces that are looked at for one answer: tens of milliseconds."""
LOOKS = 8
"""How often a pair is looked at, about, until all runs are found."""

_WORDS = re.compile(r"\w+|\W")
_Split = Callable[[str], list[str]]


def survival(output: str, surviving: str) -> float:
    """Share of the answer's characters that survived the user's edits, in [0, 1].

    Matching blocks of Ratcliff and Obershelp, as in ``difflib``: of characters where not too many
    are alike, else of lines, between these of words, and between these of characters. 1.0 where
    the answer is still there as it was, wherever; 0.0 for an empty answer.

    The time is linear in the texts and bounded: a surviving text that is much longer than the
    answer is cut, and what would take more than ``STEPS`` to find counts as gone.
    """
    if not output:
        return 0.0
    output = output[:LONGEST]
    if output in surviving:
        return 1.0
    surviving = surviving[: SPAN * len(output) + MARGIN]
    return _Search(STEPS).kept(output, surviving) / len(output)


class _Search:
    def __init__(self, steps: int) -> None:
        self._left = steps

    def kept(self, a: str, b: str) -> int:
        """How many characters of ``a`` are in ``b``, in order."""
        alike = _alike(a, b)
        if self._affords(alike):
            return sum(size for _, _, size in self._blocks(a, b, alike))
        return self._kept_pieces(a, b, (_lines, _words, list))

    def _affords(self, alike: dict[str, int]) -> bool:
        """Whether there are steps enough to look several times at all that is alike."""
        return LOOKS * sum(alike.values()) <= self._left

    def _kept_pieces(self, a: str, b: str, splits: Sequence[_Split]) -> int:
        """What both begin and end with, and between the runs of pieces that match; between these
        of the next smaller pieces."""
        head = _common(a, b)
        a, b = a[head:], b[head:]
        tail = _common(a[::-1], b[::-1])
        a, b = a[: len(a) - tail], b[: len(b) - tail]
        kept = head + tail
        if not a or not b or not splits:
            return kept
        split, *finer = splits
        pieces, others = split(a), split(b)
        blocks = self._blocks(pieces, others, _alike(pieces, others))
        end = end_b = 0
        for place, place_b, size in [*blocks, (len(pieces), len(others), 0)]:
            gap, gap_b = "".join(pieces[end:place]), "".join(others[end_b:place_b])
            kept += self._kept_pieces(gap, gap_b, finer)
            end, end_b = place + size, place_b + size
            kept += sum(map(len, pieces[place:end]))
        return kept

    def _blocks(
        self, a: Sequence[str], b: Sequence[str], alike: dict[str, int]
    ) -> list[tuple[int, int, int]]:
        """Places in ``a`` and ``b`` and sizes of the runs that match, in order: the longest, then
        those on its left and on its right. Pieces that are everywhere are left out where they are
        too many."""
        room = self._left // LOOKS
        places: dict[str, list[int]] = {}
        for piece, pairs in sorted(alike.items(), key=lambda item: item[1]):
            room -= pairs
            if room < 0:
                break
            places[piece] = []
        if not places:
            return []
        for place, piece in enumerate(b):
            if piece in places:
                places[piece].append(place)
        blocks: list[tuple[int, int, int]] = []
        ranges = [(0, len(a), 0, len(b))]
        while ranges and self._left > 0:
            begin, end, begin_b, end_b = ranges.pop()
            at, at_b, size = self._longest(
                a, places, begin=begin, end=end, begin_b=begin_b, end_b=end_b
            )
            if size:
                blocks.append((at, at_b, size))
                if begin < at and begin_b < at_b:
                    ranges.append((begin, at, begin_b, at_b))
                if at + size < end and at_b + size < end_b:
                    ranges.append((at + size, end, at_b + size, end_b))
        return sorted(blocks)

    def _longest(
        self,
        a: Sequence[str],
        places: dict[str, list[int]],
        *,
        begin: int,
        end: int,
        begin_b: int,
        end_b: int,
    ) -> tuple[int, int, int]:
        """The longest run in these ranges, of several the first in ``a``, then in ``b``."""
        best = (begin, begin_b, 0)
        runs: dict[int, int] = {}  # length of the run that ends at a place in b
        for place in range(begin, end):
            alike = places.get(a[place], ())
            longer: dict[int, int] = {}
            first = bisect_left(alike, begin_b)
            last = bisect_left(alike, end_b, first)
            for place_b in alike[first:last]:
                size = longer[place_b] = runs.get(place_b - 1, 0) + 1
                if size > best[2]:
                    best = (place - size + 1, place_b - size + 1, size)
            runs = longer
            self._left -= 1 + last - first
            if self._left <= 0:
                break
        return best


def _alike(a: Sequence[str], b: Sequence[str]) -> dict[str, int]:
    """For each piece that both have, how many pairs of places hold it."""
    count, other = Counter(a), Counter(b)
    return {piece: n * other[piece] for piece, n in count.items() if piece in other}


def _common(a: str, b: str) -> int:
    """How many characters both begin with."""
    most = min(len(a), len(b))
    low = 0
    while low < most:
        middle = (low + most + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            most = middle - 1
    return low


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def _words(text: str) -> list[str]:
    return _WORDS.findall(text)
