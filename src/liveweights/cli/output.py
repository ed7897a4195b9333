"""Tables for people, JSON and CSV for programs. What users named is data in all of them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap
from typing import Any

import msgspec
import typer
from rich.cells import cell_len
from rich.console import Console

from liveweights.spreadsheet import write_csv
from liveweights.terminal import clean, escape_json


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
    """Print a table. Two columns may have the same name.

    Nothing is cut and no word is broken: where the terminal is too narrow for whole rows, each is a
    record of its own. In a pipe a row is a line.
    """
    names = [clean(name) for name in columns]
    cells = [[clean(_shown(value)) for value in row] for row in rows]
    if title is not None:
        say(title)
    terminal = Console()
    lines = lay_out(names, cells)
    width = terminal.width if terminal.is_terminal else None
    if width is not None and any(cell_len(line) > width for line in lines):
        lines = lay_out_records(names, cells, width)
        head = 0
    else:
        head = 1
    for number, line in enumerate(lines):
        typer.secho(line, bold=number < head or None)


def lay_out(names: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table whose columns are as wide as their widest cell."""
    widths = [max(map(cell_len, column)) for column in zip(names, *rows, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in (names, *rows)
    ]


def lay_out_records(names: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """Lines of a record per row, an empty one between two: a name and what it says each, without
    those that say nothing. Texts are wrapped between words; a word that is too long stays whole."""
    longest = max(map(cell_len, names), default=0)
    room = max(20, width - longest - 2)
    lines: list[str] = []
    for row in rows:
        if lines:
            lines.append("")
        for name, cell in zip(names, row, strict=True):
            texts = [cell] if cell_len(cell) <= room else _wrap(cell, room)
            if not cell:
                continue
            for number, text in enumerate(texts):
                label = "" if number else name
                lines.append(f"{label}{' ' * (longest - cell_len(label))}  {text}")
    return lines


def _wrap(text: str, room: int) -> list[str]:
    return wrap(text, room, break_long_words=False, break_on_hyphens=False)


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
    """Print CSV, see ``spreadsheet.write_csv``."""
    write_csv(sys.stdout, columns, rows)
