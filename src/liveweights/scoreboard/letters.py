"""Which models are tied with which, as letters."""

from __future__ import annotations

from collections.abc import Collection


def assign_letters(count: int, apart: Collection[tuple[int, int]]) -> list[str]:
    """For things numbered 0 to ``count`` - 1, best first: two share a letter exactly if they are
    not ``apart``.

    The insert-and-absorb algorithm (Piepho 2004, "An algorithm for a letter-based representation
    of all-pairwise comparisons"). Letters go on as ``aa``, ``ab``, ... after ``z``, which is why
    they are joined by blanks there.
    """
    columns = [frozenset(range(count))]
    for one, other in sorted(apart):
        split: list[frozenset[int]] = []
        for column in columns:
            if one in column and other in column:
                split += [column - {one}, column - {other}]
            else:
                split.append(column)
        columns = _absorb(split)
    columns.sort(key=sorted)
    names = [_name(number) for number in range(len(columns))]
    joint = "" if len(columns) <= 26 else " "
    return [
        joint.join(name for name, column in zip(names, columns, strict=True) if number in column)
        for number in range(count)
    ]


def _absorb(columns: list[frozenset[int]]) -> list[frozenset[int]]:
    """Without those that another holds whole."""
    kept: list[frozenset[int]] = []
    for column in sorted(columns, key=len, reverse=True):
        if not any(column <= other for other in kept):
            kept.append(column)
    return kept


def _name(number: int) -> str:
    first, last = divmod(number, 26)
    return (chr(ord("a") + first - 1) if first else "") + chr(ord("a") + last)
