"""The completion product's headline, replayed: accept rate, suggestions shown and accepted.

Base against the checkpoint after at most six cycles, greedily, at the same positions of packages
that no developer typed from. Developers type files of other packages in between, and the
checkpoint learns from their reactions. There is no gate here: every cycle's candidate goes live.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from _report import arguments, finish, table
from liveweights.app import make_engine
from liveweights.config import Config
from liveweights.engines.settings import EngineSettings
from liveweights.learn.settings import LearnSettings
from liveweights.replay.circle import Circle, clicks_only, with_corrections
from liveweights.replay.corpus import Corpus
from liveweights.replay.measure import Measurement, choose
from liveweights.replay.relative import Changes, relative_changes
from liveweights.replay.settings import MeasureSettings, TrafficSettings
from liveweights.replay.traffic import sessions
from liveweights.weights.models import DEFAULT_MODEL, find, load_tokenizer

PUBLISHED = {"accept_rate": 0.28, "shown": -0.21}
"""Cursor, "Improving Cursor Tab with online RL" (cursor.com/blog/tab-rl)."""


async def run(options: Namespace, folder: Path) -> dict[str, Any]:
    cache = Config().cache_folder()
    base = find(options.model, cache)
    split = Corpus.find().split(0)
    traffic = TrafficSettings()
    places = choose(split.held_out_packages, options.files, MeasureSettings(), traffic)
    engine = make_engine(base, Config(engine=EngineSettings(kind=options.engine, threads=2)))
    circle = Circle(
        engine,
        load_tokenizer(base),
        base,
        folder,
        settings=LearnSettings(
            threads=2,
            silence_weight=options.silence_weight,
            learning_rate=options.learning_rate,
            nodes=options.nodes,
            reject_alpha=options.reject_alpha,
        ),
        traffic=traffic,
    )
    react = with_corrections if options.signals == "corrections" else clicks_only
    spent = {"typing": 0.0, "learning": 0.0, "measuring": 0.0}
    try:
        await circle.start()
        began = time.perf_counter()
        before = await circle.measure(base, places)
        spent["measuring"] += time.perf_counter() - began
        typed = sessions(split.training, traffic)
        read = 0
        for number in range(options.cycles):
            began = time.perf_counter()
            examples = await circle.type(typed, options.requests, react)
            spent["typing"] += time.perf_counter() - began
            began = time.perf_counter()
            report = (await circle.turn(examples)).report
            spent["learning"] += time.perf_counter() - began
            read += sum(bool(example.feedback) for example in examples)
            shown = [e for e in examples if e.generation.output.strip()]
            taken = sum(any(f.signal == "accepted" for f in e.feedback) for e in shown)
            print(
                f"cycle {number + 1}: {len(examples)} requests, {len(shown)} shown,"
                f" {taken} accepted; {report.taught} rows taught, {report.masked} masked,"
                f" divergence {report.kl:.3f}, mismatch so far {report.ratio:.3f}",
                flush=True,
            )
        began = time.perf_counter()
        after = await circle.measure(circle.live, places)
        spent["measuring"] += time.perf_counter() - began
    finally:
        await engine.close()
    files = [place.file for place in places]
    changes = relative_changes(before.outcomes, after.outcomes, files)
    report_table(options, before, after, changes)
    return {
        "signals": options.signals,
        "model": base.id,
        "cycles": options.cycles,
        "reactions_read": read,
        "positions": len(places),
        "files": len(set(files)),
        "base": counts(before),
        "last": counts(after),
        "changes": changes.as_dict(),
        "seconds": {name: round(value, 1) for name, value in spent.items()},
    }


def counts(measurement: Measurement) -> dict[str, int]:
    outcomes = measurement.outcomes
    accepted, rejected = outcomes.count("accepted"), outcomes.count("rejected")
    return {"shown": accepted + rejected, "accepted": accepted}


def report_table(
    options: Namespace, before: Measurement, after: Measurement, changes: Changes
) -> None:
    old, new = counts(before), counts(after)
    rates = [c["accepted"] / c["shown"] if c["shown"] else float("nan") for c in (old, new)]
    rows = [
        ("accept rate", *rates, changes.accept_rate, PUBLISHED["accept_rate"]),
        ("shown", old["shown"], new["shown"], changes.shown, PUBLISHED["shown"]),
        ("accepted", old["accepted"], new["accepted"], changes.accepted, None),
    ]
    table(
        f"{len(before.positions)} held-out positions; learnt from: {options.signals}",
        ("", "base", f"after {options.cycles} cycles", "change", "95%", "published"),
        [
            (
                name,
                a,
                b,
                f"{c.mean:+.1%}",
                f"{c.low:+.1%} to {c.high:+.1%}",
                "" if p is None else f"{p:+.0%}",
            )
            for name, a, b, c, p in rows
        ],
    )


def main() -> None:
    options = arguments(
        __doc__ or "",
        learning_rate=(LearnSettings().learning_rate, "step size of the update"),
        nodes=(LearnSettings().nodes, "tokens of one packed tree"),
        reject_alpha=(LearnSettings().reject_alpha, "see learn.reject_alpha"),
        model=(DEFAULT_MODEL, "packaged name or folder of the base"),
        engine=("llama", "llama, openvino or torch"),
        signals=("corrections", "what developers send: corrections or clicks"),
        cycles=(6, "cycles"),
        requests=(240, "requests per cycle"),
        files=(100, "held-out files, six positions each"),
        silence_weight=(1.0, "price of an interruption; 1 is that of the reward map"),
    )
    if options.quick:
        options.cycles, options.requests, options.files = 1, 40, 8
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(run(options, Path(folder)))
    finish("headline", options, figures, {"published": PUBLISHED})


if __name__ == "__main__":
    main()
