"""Another benchmark, of this tree and of a former commit in turn: what got better, what worse?

Each tree runs its own script on its own code. Printed is the median of each figure, and the median
of the ratios of two runs that followed one another.

    python bench/former.py --script writer --against HEAD~20 --rounds 5
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _child import run_child
from _report import arguments, finish, table
from _revision import ROOT, checked_out


def run(tree: Path, script: str, more: list[str]) -> dict[str, float]:
    """What the script found, by dotted names."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        run_child(
            [sys.executable, tree / "bench" / f"{script}.py", "--json", file.name, *more],
            env={"PYTHONPATH": str(tree / "src")},
            quiet=True,
        ).check_returncode()
        return dict(flatten(json.load(file)["figures"]))


def flatten(figures: dict[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, dict):
            yield from flatten(value, f"{before}{name}.")
        elif isinstance(value, int | float):
            yield f"{before}{name}", float(value)


def main() -> None:
    options = arguments(
        __doc__ or "",
        script=("writer", "name of the benchmark"),
        against=("6cbf389", "the commit to compare with"),
        rounds=(3, "runs of each tree"),
        options=("", "options of the benchmark, in one word"),
    )
    rounds = 1 if options.quick else options.rounds
    more = [*options.options.split(), *(["--quick"] if options.quick else [])]
    ours: list[dict[str, float]] = []
    theirs: list[dict[str, float]] = []
    with checked_out(options.against) as former:
        for number in range(rounds):
            turns = [(ROOT, ours), (former, theirs)]
            for tree, found in turns if number % 2 else reversed(turns):
                found.append(run(tree, options.script, more))
            print(f"round {number + 1} of {rounds}", flush=True)
    names = [name for name in ours[0] if name in theirs[0]]
    rows: list[list[str | float]] = []
    for name in names:
        pairs = [(a[name], b[name]) for a, b in zip(ours, theirs, strict=True)]
        medians = [statistics.median(side) for side in zip(*pairs, strict=True)]
        ratios = [a / b for a, b in pairs if b]
        rows.append([name, *medians, statistics.median(ratios) if ratios else 1.0])
    table(
        f"{options.script}: this tree beside {options.against}",
        ("figure", "this", options.against, "ratio"),
        rows,
    )
    ratios = {str(name): ratio for name, _, _, ratio in rows}
    this = {str(name): value for name, value, _, _ in rows}
    before = {str(name): value for name, _, value, _ in rows}
    finish("former", options, {"script": options.script, "this": this, "times_former": ratios},
           {options.against: before})  # fmt: skip


if __name__ == "__main__":
    main()
