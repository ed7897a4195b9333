"""``liveweights cycle --follow``: a bar on a terminal, plain lines everywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.progress import BarColumn, Progress, TextColumn

from liveweights.cli.output import say
from liveweights.terminal import clean

POLL = 1.0
EVERY = 10.0
"""Seconds between two lines of the same stage."""
PATIENCE = 30.0
"""Seconds without a worker until it is taken for gone: one that was killed is started again."""
STAGES = {
    "scoring": "held-back rows before the update",
    "comparing": "what was served, by the trainer",
    "updating": "gradient steps",
    "measuring": "held-back rows after the update",
    "asking": "drafts of both checkpoints",
}


class _Idle(Exception):
    """No worker is there."""


Look = Callable[[], Mapping[str, Any]]
"""The status of a model."""


def follow_cycle(look: Look, poll: float = POLL, patience: float = PATIENCE) -> bool:
    """Show the open cycle until it ends, and what it came to. False, with a sentence, where no
    worker was seen for ``patience`` seconds: it goes no further."""
    statuses = _watch(look, poll, patience)
    first = next(statuses)
    if first["cycle"] is None:
        return True
    show = _show_bar if sys.stdout.isatty() else _print_lines
    try:
        ended = show(first, statuses)["cycles"][0]
    except _Idle:
        idle = tell_idle(first["alias"])
        say(f"not followed any longer, after {patience:g} s: {idle}", fg="yellow", err=True)
        return False
    say(f"cycle {ended['id']} ended: {ended['standing']}: {ended['reason'] or '-'}")
    return True


def tell_idle(alias: str) -> str:
    """What to say where an alias has no worker."""
    return (
        f"no worker runs for {alias!r}, so no cycle goes on: `liveweights up` starts one, which"
        " takes up the cycle that is open"
    )


def describe(cycle: Mapping[str, Any]) -> str:
    """Where a cycle stands, in one line."""
    about = f"cycle {cycle['id']} {cycle['state']}"
    progress = cycle.get("progress")
    if not progress:
        return about
    about += f": {STAGES[progress['stage']]}, {progress['done']} of {progress['total'] or '?'}"
    if (speed := progress["rows_per_second"]) is not None:
        about += f", {speed:.3g} a second"
    if progress["steps"]:
        about += f", loss {progress['loss']:.3f}, divergence {progress['kl']:.3f}"
    if (left := progress["seconds_left"]) is not None:
        about += f", about {say_seconds(left)} left of this step"
    return about


def say_seconds(seconds: float) -> str:
    """In the largest unit that leaves a number of at least two."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _watch(look: Look, poll: float, patience: float) -> Iterator[Mapping[str, Any]]:
    """The status again and again, up to the first in which no cycle is open. Raises _Idle."""
    seen = time.monotonic()
    while True:
        status = look()
        yield status
        if status["cycle"] is None:
            return
        if status["worker"] is not None:
            seen = time.monotonic()
        elif time.monotonic() >= seen + patience:
            raise _Idle
        time.sleep(poll)


def _print_lines(
    first: Mapping[str, Any], statuses: Iterator[Mapping[str, Any]]
) -> Mapping[str, Any]:
    """A line when the stage changes, when its speed is known, and now and then; the last status."""
    status, place, again = first, ("", "", False), 0.0
    while (cycle := status["cycle"]) is not None:
        progress = cycle.get("progress") or {}
        speed_known = progress.get("rows_per_second") is not None
        here = cycle["state"], progress.get("stage", ""), speed_known
        if here != place or time.monotonic() >= again:
            say(f"{datetime.now(UTC):%H:%M:%S} {describe(cycle)}")
            sys.stdout.flush()
            place, again = here, time.monotonic() + EVERY
        status = next(statuses)
    return status


def _show_bar(first: Mapping[str, Any], statuses: Iterator[Mapping[str, Any]]) -> Mapping[str, Any]:
    status = first
    columns = BarColumn(bar_width=20), TextColumn("{task.description}", markup=False)
    with Progress(*columns) as bars:
        task = bars.add_task("", total=None)
        while (cycle := status["cycle"]) is not None:
            part = (cycle.get("progress") or {}).get("part")
            total = None if part is None else 1.0
            bars.update(
                task, description=clean(describe(cycle)), completed=part or 0.0, total=total
            )
            status = next(statuses)
    return status
