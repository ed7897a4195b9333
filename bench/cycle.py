"""How much feedback goes through the whole circle per minute: this tree beside a former commit.

Each tree serves on a fresh home with the same settings. Replayed developers react to the same
places until there is enough to learn from; then they type on calmly while a cycle claims their
feedback, learns, loads the candidate and asks it and the incumbent. Counted is until the verdict:
a canary lasts as long as it is set to.

The trees run in turn, so that what else the machine does falls on both.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _report import arguments, finish, table
from _revision import ROOT, checked_out
from liveweights.replay.client import Client, CycleStatus
from liveweights.replay.corpus import Corpus
from liveweights.replay.course import begin_cycle
from liveweights.replay.service import Service, free_port, write_config
from liveweights.replay.settings import TrafficSettings
from liveweights.replay.traffic import Traffic

SETTINGS: dict[str, Any] = {
    "engine": {"context_length": 1024},
    "cycle": {"every": 86_400.0, "min_feedback": 1_000_000, "poll": 0.5},
}
"""All else is each tree's own default."""


@dataclass(frozen=True)
class Turn:
    """Seconds of one cycle's parts, and what it came to."""

    feedback: int
    seconds: dict[str, float]
    outcome: str
    likelihood: float | None
    """Mean change of the log-probability of what users took or wrote, on held-back rows."""

    @property
    def rows_per_minute(self) -> float:
        return 60 * self.feedback / sum(self.seconds.values())


async def turn(tree: Path, folder: Path, reactions: int, beside: float) -> Turn:
    """One cycle of ``tree``, with ``beside`` requests per second meanwhile."""
    os.environ["PYTHONPATH"] = str(tree / "src")
    config = folder / "liveweights.toml"
    write_config(config, SETTINGS)
    service = Service(folder / "home", config, free_port(), folder / "service.log")
    try:
        async with Client(service.url) as client:
            await service.wait(client, 240)
            traffic = Traffic(
                client,
                Corpus.find().split().training,
                model="code",
                settings=TrafficSettings(rate=8.0, session_positions=5, window=560),
            )
            typing = asyncio.create_task(traffic.run())
            while traffic.tally.reactions < reactions:
                await asyncio.sleep(0.2)
            traffic.hurry(beside)
            feedback = (await client.status()).feedback
            await begin_cycle(service)
            found = await _follow(client, feedback)
            traffic.stop()
            await typing
            if traffic.tally.failed:
                raise SystemExit(f"requests failed: {list(traffic.tally.errors)}")
            return found
    finally:
        service.stop()


async def _follow(client: Client, feedback: int) -> Turn:
    """Time a cycle's states until its verdict."""
    seconds: dict[str, float] = {}
    last = time.monotonic()
    state = "claiming"
    while True:
        status = await client.status()
        cycle = status.cycle or (status.cycles[0] if status.cycles else None)
        now = time.monotonic()
        seconds[state] = seconds.get(state, 0.0) + now - last
        last = now
        if cycle is not None and (cycle.verdict or cycle.outcome):
            return _turn(cycle, feedback, seconds)
        state = cycle.state if cycle else state
        await asyncio.sleep(0.1)


def _turn(cycle: CycleStatus, feedback: int, seconds: dict[str, float]) -> Turn:
    if cycle.verdict is None:
        raise SystemExit(f"the cycle came to no verdict: {cycle.outcome}: {cycle.reason}")
    likelihood = (cycle.verdict.get("evidence") or {}).get("likelihood") or {}
    return Turn(feedback, seconds, cycle.verdict["outcome"], likelihood.get("mean"))


def main() -> None:
    options = arguments(
        __doc__ or "",
        against=("6cbf389", "the commit to compare with"),
        rounds=(3, "cycles of each tree"),
        reactions=(240, "suggestions with a reaction that a cycle claims"),
        beside=(0.7, "suggestions per second while the cycle goes on"),
        dtype=("auto", "precision of both trees' updates"),
    )
    SETTINGS["learn"] = {"dtype": options.dtype}
    rounds, reactions = (1, 60) if options.quick else (options.rounds, options.reactions)
    turns: dict[str, list[Turn]] = {"this": [], options.against: []}
    with checked_out(options.against) as former, tempfile.TemporaryDirectory() as place:
        trees = {"this": ROOT, options.against: former}
        for number in range(rounds):
            for name, tree in trees.items():
                folder = Path(place) / f"{name}-{number}"
                folder.mkdir()
                turns[name].append(asyncio.run(turn(tree, folder, reactions, options.beside)))
                found = turns[name][-1]
                parts = ", ".join(f"{state} {took:.0f} s" for state, took in found.seconds.items())
                print(f"{name}: {found.rows_per_minute:.0f} rows per minute ({parts})", flush=True)
    states = ("claiming", "learning", "calibrating", "warming", "gating")
    rows = [
        [
            name,
            one.feedback,
            *(one.seconds.get(state, 0.0) for state in states),
            one.rows_per_minute,
            one.outcome,
            one.likelihood,
        ]
        for name, found in turns.items()
        for one in found
    ]
    table(
        "Feedback through the circle",
        ("tree", "rows", *(f"{state}, s" for state in states), "rows/min", "verdict", "likelihood"),
        rows,
    )
    medians = {
        name: statistics.median(one.rows_per_minute for one in found)
        for name, found in turns.items()
    }
    ratio = medians["this"] / medians[options.against]
    print(f"{ratio:.2f} times the feedback per minute of {options.against}")
    finish(
        "cycle",
        options,
        {"rows_per_minute": medians["this"], "times_former": ratio},
        {options.against: {"rows_per_minute": medians[options.against]}},
    )


if __name__ == "__main__":
    main()
