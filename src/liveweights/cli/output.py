"""Tables for people, JSON and CSV for programs. What users named is data in all of them."""

from __future__ import annotations

import csv
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from liveweights.terminal import clean, escape_json

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What a cell begins with that a spreadsheet takes for a formula, full-width forms included."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def say(text: str, *, fg: str | None = None, err: bool = False) -> None:
    """Print one line, whatever the names and words of users in it hold."""
    typer.secho(clean(text), fg=fg, err=err)


def show(rows: Sequence[Mapping[str, Any]], columns: Sequence[str], as_json: bool) -> None:
    """Print rows as a table of ``columns``, or whole as one JSON array."""
    if as_json:
        show_json(rows)
        return
    show_table(columns, ([row.get(name) for name in columns] for row in rows))


def show_table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None
) -> None:
    """Print a table. Two columns may have the same name."""
    table = Table(
        *(Column(header=Text(clean(name))) for name in columns),
        box=None,
        title=None if title is None else Text(clean(title)),
        title_justify="left",
    )
    for row in rows:
        table.add_row(*(Text(clean(_shown(value))) for value in row))
    Console().print(table)


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case list() | dict():
            return msgspec.json.encode(value).decode()
        case _:
            return str(value)


def show_json(value: object) -> None:
    print(escape_json(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()))


def show_csv(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print CSV (RFC 4180, lines ended by LF).

    A text that a spreadsheet would take for a formula is put behind an apostrophe, and controls are
    shown as in ``clean``; line ends and tabs within a text stay.
    """
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([_cell(name) for name in columns])
    writer.writerows([_cell(value) for value in row] for row in rows)


def _cell(value: object) -> object:
    if isinstance(value, (list, dict)):
        value = _shown(value)
    if not isinstance(value, str):
        return value
    formula = value.lstrip(" ").startswith(FORMULA) and not NUMBER.fullmatch(value)
    lines = "\r\n".join(clean(line, keep="\n\t") for line in value.split("\r\n"))
    return f"'{lines}" if formula else lines
