"""The product's headline, replayed: what users get after some cycles, against the base.

Of completions: accept rate, suggestions shown and suggestions accepted, greedily, at the same
positions of packages that no developer typed from. Of chats: tasks answered rightly, of families
that users asked for and of families that nobody did. Users react in between, and the checkpoint
learns from what they did, a share of the sessions held back. There is no gate here: every cycle's
candidate goes live.

--row NAME runs one row of the matrix (--rows tells them), each of which varies one thing of the
usual one, or a pair; --matrix runs them all, each in a process of its own, and with --json FILE
goes on where it was; what a base did is kept beside it, in FILE's .looks.json, for rows that begin
with the same one. Options that are given change the row.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
import tempfile
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from _child import run_child
from _looks import Looks
from _models import find_model
from _report import arguments, finish, table
from _rows import ROWS, Row, changed, find_row
from _tables import show_matrix, show_row
from _users import Developers, People, Sizes, Users
from liveweights.app.wiring import make_engine
from liveweights.config import Config
from liveweights.engines.settings import EngineSettings
from liveweights.gate.calibration import Calibration
from liveweights.learn.job import Result
from liveweights.replay.circle import Circle, hold_back
from liveweights.replay.goals import PUBLISHED
from liveweights.weights.models import load_tokenizer

_ROW_S = "; empty: the row's"
_ROW_N = "; negative: the row's"


async def run(
    row: Row, sizes: Sizes, threads: int, *, folder: Path, looks: Looks
) -> dict[str, Any]:
    """One row, start to end; what `_tables` shows."""
    cache = Config().cache_folder()
    base = find_model(row.model, cache)
    # What whole weights are converted to for an engine is not worth keeping.
    own = str(folder / "cache") if row.updater == "full" else ""
    serving: dict[str, Any] = {"kind": row.engine, "precision": row.precision}
    config = Config(cache=own, engine=EngineSettings(threads=threads, **serving))
    engine = make_engine(base, config.find_model(), config.cache_folder())
    settings = row.settings(threads)
    circle = Circle(engine, load_tokenizer(base), base, folder, settings=settings)
    users: Users = (
        People(row, sizes, circle)
        if row.kind == "chat"
        else Developers(row, sizes, circle, cache=cache, looks=looks)
    )
    spent = Stopwatch()
    cycles: list[dict[str, Any]] = []
    try:
        async with users:
            await circle.start()
            base_look = incumbent = await users.look(whole=True)
            spent.stop("measuring")
            for number in range(sizes.cycles):
                used = await users.use(sizes.requests)
                spent.stop("using")
                train, held_back = hold_back(used.examples, settings.held_back_share)
                result = await circle.turn(train, held_back, used.follow_ups)
                learning = spent.stop("learning")
                candidate = await users.look(whole=number + 1 == sizes.cycles)
                spent.stop("measuring")
                cycle = {
                    "requests": len(used.examples),
                    "shown": used.shown,
                    "good": used.good,
                    "reactions": sum(bool(example.feedback) for example in used.examples),
                    **learnt(result),
                    "silence": decided(circle.calibration),
                    "seconds": round(learning, 1),
                    **users.watch(incumbent, candidate),
                }
                cycles.append(cycle)
                incumbent = candidate
                print(f"cycle {number + 1}: {json.dumps(cycle)}", flush=True)
    finally:
        await engine.close()
    found = users.compare(base_look, incumbent)
    return {
        "row": dataclasses.asdict(row),
        "sizes": dataclasses.asdict(sizes),
        "model": base.id,
        **found,
        "cycles": cycles,
        "goals": [goal.as_dict() for goal in users.goals(found, cycles)],
        "seconds": {name: round(value, 1) for name, value in spent.seconds.items()},
    }


class Stopwatch:
    """Seconds by what they were spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._began = time.perf_counter()

    def stop(self, name: str) -> float:
        """Put what went by since the last stop down to ``name``; how long that was."""
        now = time.perf_counter()
        passed, self._began = now - self._began, now
        self.seconds[name] = self.seconds.get(name, 0.0) + passed
        return passed


def learnt(result: Result) -> dict[str, Any]:
    """What an update did. ``divergence`` is of rows that it was not trained on, ``kl`` what the
    loss of the last step saw. In nats per token."""
    report = result.report
    return {
        "taught": report.taught,
        "masked": report.masked,
        "steps": report.steps,
        "divergence": report.divergence,
        "scale": report.scale,
        "rate": report.rate,
        "kl": report.kl,
        "ratio": report.ratio,
        "mismatch": report.mismatch,
    }


def decided(calibration: Calibration | None) -> dict[str, Any] | None:
    """What set the point from which nothing is said, and on how many cases."""
    if calibration is None:
        return None
    names = ("cases", "judged", "held_by", "kept", "kept_low")
    return {name: getattr(calibration, name) for name in names}


def main() -> None:
    options = arguments(
        __doc__ or "",
        row=("usual", "the row to run"),
        rows=(False, "tell the rows that there are, and do nothing"),
        matrix=(False, "run all rows that --json FILE does not have in these sizes"),
        chat=(False, "the same as --row chat"),
        cycles=(6, "cycles"),
        requests=(240, "requests per cycle"),
        files=(100, "held-out files, six positions each"),
        watched=(30, "of these, those that are looked at after every cycle"),
        tasks=(30, "tasks of each family of a chat"),
        threads=(2, "CPU threads of engine and update"),
        model=("", "packaged, mixture, gemma, or a name or folder of a base" + _ROW_S),
        engine=("", "llama, openvino or torch" + _ROW_S),
        precision=("", "what the llama engine serves" + _ROW_S),
        updater=("", "lora or full" + _ROW_S),
        language=("", "python or typescript" + _ROW_S),
        signals=("", "what users send: corrections or clicks" + _ROW_S),
        silence_weight=(-1.0, "price of an interruption; 1 is the reward map's" + _ROW_N),
        learning_rate=(-1.0, "step size of the update" + _ROW_N),
        nodes=(-1, "tokens of one packed tree" + _ROW_N),
        reject_alpha=(-1.0, "see learn.reject_alpha" + _ROW_N),
    )
    if options.quick:
        options.cycles, options.requests, options.files = 1, 40, 8
        options.watched, options.tasks = 4, 3
    if options.rows:
        table("Rows", ("row", "what it varies"), [(row.name, row.why) for row in ROWS])
        return
    known = read_rows(options.json)
    sizes = Sizes(**{f.name: getattr(options, f.name) for f in dataclasses.fields(Sizes)})
    if options.matrix:
        sys.exit(run_matrix(options, known, sizes))
    row = with_options(find_row("chat" if options.chat else options.row), options)
    looks = Looks(options.json and options.json.with_suffix(".looks.json"))
    with tempfile.TemporaryDirectory() as folder:
        running = run(row, sizes, options.threads, folder=Path(folder), looks=looks)
        found = asyncio.run(running)
    show_row(found)
    known[row.name] = found
    finish("headline", options, {"rows": known}, {"published": PUBLISHED})


def run_matrix(options: Namespace, known: dict[str, Any], sizes: Sizes) -> int:
    """All rows, and the table of them; 1 if one could not be run."""
    if options.json is None:
        raise SystemExit("--matrix needs --json FILE, where rows are kept")
    failed: list[str] = []
    ours = [argument for argument in sys.argv[1:] if argument != "--matrix"]
    for row in ROWS:
        name = with_options(row, options).name
        if known.get(name, {}).get("sizes") == dataclasses.asdict(sizes):
            continue
        print(f"row {name}: {row.why}", flush=True)
        command = [sys.executable, __file__, *ours, "--row", row.name]
        if run_child(command).returncode:
            failed.append(name)
    rows = read_rows(options.json)
    names = [with_options(row, options).name for row in ROWS]
    show_matrix([rows[name] for name in names if name in rows])
    for name in failed:
        print(f"the row {name} could not be run", flush=True)
    return 1 if failed else 0


def with_options(row: Row, options: Namespace) -> Row:
    """The row as the options that were given change it."""
    names = ("model", "engine", "precision", "updater", "language", "signals",
             "silence_weight", "learning_rate", "nodes", "reject_alpha")  # fmt: skip
    given = {name: getattr(options, name) for name in names}
    return changed(row, {k: v for k, v in given.items() if v not in ("", -1)})


def read_rows(file: Path | None) -> dict[str, Any]:
    """Rows that were run before."""
    if file is None or not file.exists():
        return {}
    return json.loads(file.read_text())["figures"]["rows"]


if __name__ == "__main__":
    main()
