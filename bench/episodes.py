"""Whether outcomes alone teach a model to act: errands with two tools, before and after.

The packaged model does small tasks, each an episode of at most two steps: one look-up in a
directory or one command, then the answer. Users say only whether the whole was done. After each
cycle's episodes it learns; there is no gate. Measured are held-out tasks, about people and files
that no episode was about, greedily, paired, with an interval clustered by phrasing.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from _errands import Done, Office, draw_errands, outcome_of, shares
from _models import find_model
from _report import arguments, finish, table
from liveweights.app.wiring import make_engine
from liveweights.config import Config
from liveweights.engines.settings import EngineSettings
from liveweights.learn.settings import LearnSettings
from liveweights.record.example import Example
from liveweights.replay.circle import Circle, hold_back
from liveweights.replay.comparison import clustered_mean
from liveweights.weights.models import load_tokenizer


def compare(base: list[Done], last: list[Done]) -> dict[str, Any]:
    """The paired difference of the two on the same errands."""
    changes = [float(b.success) - float(a.success) for a, b in zip(base, last, strict=True)]
    return clustered_mean(changes, [one.errand.cluster for one in base]).as_dict()


async def run(
    folder: Path, *, cycles: int, episodes: int, tasks: int, threads: int, settings: LearnSettings
) -> dict[str, Any]:
    config = Config(engine=EngineSettings(threads=threads))
    base = find_model("packaged", config.cache_folder())
    engine = make_engine(base, config.find_model(), config.cache_folder())
    circle = Circle(engine, load_tokenizer(base), base, folder, settings=settings)
    held_out = list(islice(draw_errands("held out", held_out=True), tasks))
    errands = draw_errands("users", held_out=False)
    turns: list[dict[str, Any]] = []
    try:
        async with Office(circle) as office:
            await circle.start()
            before = after = await office.measure(held_out)
            print(f"base: {dict(shares(before))}", flush=True)
            for number in range(cycles):
                began = time.perf_counter()
                chosen = list(islice(errands, episodes // cycles))
                done = await office.work(chosen, f"cycle-{number}")
                examples: list[Example] = []
                for place, one in enumerate(done):
                    examples += outcome_of(one, f"cycle-{number}-{place}")
                used = time.perf_counter()
                result = await circle.turn(*hold_back(examples, settings.held_back_share))
                learnt = time.perf_counter()
                after = await office.measure(held_out)
                report = result.report
                turn = {
                    "episodes": len(done),
                    "steps": len(examples),
                    "sampled": dict(shares(done)),
                    "held_out": dict(shares(after)),
                    "change": compare(before, after),
                    "taught": report.taught,
                    "divergence": report.divergence,
                    "scale": report.scale,
                    "conduct": msgspec.to_builtins(report.conduct),
                    "seconds": {"using": used - began, "learning": learnt - used},
                }
                turns.append(turn)
                print(f"cycle {number + 1}: {turn}", flush=True)
    finally:
        await engine.close()
    return {
        "tasks": tasks,
        "base": dict(shares(before)),
        "last": dict(shares(after)),
        "change": compare(before, after),
        "cycles": turns,
    }


def main() -> None:
    options = arguments(
        __doc__ or "",
        cycles=(2, "cycles"),
        episodes=(200, "episodes of all cycles"),
        tasks=(120, "held-out tasks"),
        threads=(2, "CPU threads"),
        credit=("outcome", "how an outcome is credited to steps: outcome, discounted, steps"),
        seed=(0, "of the update"),
    )
    episodes, tasks = (32, 24) if options.quick else (options.episodes, options.tasks)
    settings = LearnSettings(
        threads=options.threads, credit=options.credit, seed=options.seed, probes=8
    )
    with tempfile.TemporaryDirectory() as place:
        figures = asyncio.run(
            run(
                Path(place),
                cycles=options.cycles,
                episodes=episodes,
                tasks=tasks,
                threads=options.threads,
                settings=settings,
            )
        )
    names = ("success", "search", "run", "right_call")
    table(
        "Held-out errands done",
        ("checkpoint", *names),
        [[who, *(figures[who][name] for name in names)] for who in ("base", "last")],
    )
    print(f"change of success, paired, 95%: {figures['change']}")
    finish("episodes", options, figures, {})


if __name__ == "__main__":
    main()
