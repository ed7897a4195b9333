"""What every benchmark does alike: its options, its table for people, its line for programs."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from liveweights.config import DATABASE_URL

Cell = str | int | float | None


def arguments(description: str, **options: tuple[Any, str]) -> argparse.Namespace:
    """``--json FILE`` and ``--quick``, and for each of ``options`` (default, help) one more: a
    switch where the default is False."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run at all?")
    for name, (default, text) in options.items():
        if default is False:
            parser.add_argument(f"--{name.replace('_', '-')}", action="store_true", help=text)
            continue
        kind = str if default is None else type(default)
        flag = f"--{name.replace('_', '-')}"
        parser.add_argument(flag, type=kind, default=default, help=f"{text} (default: {default})")
    # What it starts is not to work on the database of a real service.
    os.environ.pop(DATABASE_URL, None)
    # Told to end, what a benchmark has started ends first.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    return parser.parse_args()


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """Print rows for people; floats get four significant digits."""
    shown = Table(*columns, title=title, box=None, title_justify="left")
    for row in rows:
        shown.add_row(*(f"{c:.4g}" if isinstance(c, float) else str(c) for c in row))
    Console(width=120).print(shown)


def finish(
    bench: str, options: argparse.Namespace, figures: Mapping[str, Any], peers: Mapping[str, Any]
) -> None:
    """Print the closing line of JSON, and write it to ``--json``."""
    line = json.dumps({"bench": bench, "figures": figures, "peers": peers})
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(line + "\n")
    print(line, flush=True)
