"""CSV whose cells are data to the spreadsheet that opens it."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from liveweights.terminal import clean

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell begins with that a spreadsheet takes for a formula, full-width forms included."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


class Writable(Protocol):
    """What text is written to."""

    def write(self, text: str, /) -> object: ...


def write_csv(file: Writable, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write CSV (RFC 4180, lines ended by LF).

    A text that a spreadsheet would take for a formula is put behind an apostrophe, and controls are
    shown as in ``clean``; line ends and tabs within a text stay.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([cell_of(name) for name in columns])
    writer.writerows([cell_of(value) for value in row] for row in rows)


def cell_of(value: object) -> object:
    """What stands for a value; lists and objects are JSON."""
    if isinstance(value, (list, dict)):
        value = msgspec.json.encode(value).decode()
    if not isinstance(value, str):
        return value
    formula = value.lstrip(" ").startswith(FORMULA) and not NUMBER.fullmatch(value)
    lines = "\r\n".join(clean(line, keep="\n\t") for line in value.split("\r\n"))
    return f"'{lines}" if formula else lines
