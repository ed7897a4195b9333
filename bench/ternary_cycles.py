"""Cycles of learning on frozen ternary weights, through the whole service: what replayed developers
take before and after.

A service on a fresh home serves a ternary model. Developers type, each cycle learns an adapter from
their reactions, its gate and canary decide, and what is live is asked at held-out positions, as the
base was. All that was ever learnt is a few megabytes beside the same base. Ends with status 1 if a
request failed, or a cycle came to no verdict.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _child import run_child
from _report import arguments, finish, table
from liveweights.replay.client import Client, CycleStatus
from liveweights.replay.corpus import Corpus
from liveweights.replay.course import begin_cycle
from liveweights.replay.developer import Position
from liveweights.replay.measure import Measurement, choose, compare_measurements, measure
from liveweights.replay.plan import make_plan, service_settings
from liveweights.replay.service import Service, free_port, write_config
from liveweights.replay.settings import MeasureSettings, Rewards, TrafficSettings
from liveweights.replay.speed import measure_apart
from liveweights.replay.traffic import Tally, Traffic
from ternary_quality import work_folder

TRAFFIC = TrafficSettings(session_positions=5, window=560, rate=8.0, temperature=0.0)
START_SECONDS = 300.0


async def wait_for_end(client: Client, before: int) -> CycleStatus:
    """The cycle after ``before`` of them have ended, once it has, and its canary."""
    while True:
        status = await client.status()
        if status.cycle is None and status.canary is None and len(status.cycles) > before:
            return max(status.cycles, key=lambda one: one.id)
        await asyncio.sleep(0.5)


def describe(cycle: CycleStatus, seconds: float, reactions: int) -> dict[str, Any]:
    return {
        "cycle": cycle.id,
        "outcome": cycle.outcome,
        "verdict": (cycle.verdict or {}).get("outcome"),
        "reason": cycle.reason,
        "reactions": reactions,
        "seconds": seconds,
    }


def adapters(home: Path) -> list[dict[str, Any]]:
    """What the service stored of each candidate."""
    files = sorted(home.glob("**/adapter_model.safetensors"))
    return [{"checkpoint": file.parent.name, "bytes": file.stat().st_size} for file in files]


async def run(options: Namespace, folder: Path) -> dict[str, Any]:
    plan = make_plan(await measure_apart())
    if options.rows:
        plan = dataclasses.replace(plan, train=options.rows, requests=int(options.rows / 0.4))
    settings: dict[str, Any] = service_settings(plan)
    settings["engine"] = {**settings["engine"], "kind": options.engine}
    if options.learning_rate > 0:
        settings["learn"] = {**settings["learn"], "learning_rate": options.learning_rate}
    config = folder / "liveweights.toml"
    write_config(config, settings)
    split = Corpus.find().split()
    places = choose(split.held_out_files, options.files, MeasureSettings(), TRAFFIC)
    home = folder / "home"
    service = Service(home, config, free_port(), folder / "service.log", model=options.model)
    tally = Tally()
    cycles: list[dict[str, Any]] = []
    try:
        async with Client(service.url, timeout=300) as client:
            await service.wait(client, START_SECONDS)
            base_id = (await client.status()).live or ""
            base = await ask(client, base_id, places, tally)
            traffic = Traffic(client, split.training, model="code", settings=TRAFFIC, tally=tally)
            typing = asyncio.create_task(traffic.run())
            begun = 0
            for number in range(options.cycles):
                while tally.reactions - begun < plan.requests:
                    await asyncio.sleep(0.5)
                begun, began = tally.reactions, time.monotonic()
                traffic.hurry(options.beside)
                await begin_cycle(service)
                ended = await wait_for_end(client, number)
                cycles.append(describe(ended, time.monotonic() - began, begun))
                print(cycles[-1], flush=True)
                traffic.hurry(TRAFFIC.rate)
            traffic.stop()
            await typing
            live = (await client.status()).live or ""
            last = base if live == base_id else await ask(client, live, places, tally)
    except BaseException:
        print((folder / "service.log").read_text(errors="replace")[-3000:], file=sys.stderr)
        raise
    finally:
        service.stop()
    return {
        "model": base_id, "live": live, "cycles": cycles, "requests": tally.requests,
        "failed": tally.failed, "adapters": adapters(home),
        **compare_measurements(base, last, Rewards()).as_dict(),
    }  # fmt: skip


async def ask(
    client: Client, checkpoint: str, places: Sequence[Position], tally: Tally
) -> Measurement:
    return await measure(client, checkpoint, places, tally=tally, max_tokens=TRAFFIC.max_tokens)


def main() -> None:
    options = arguments(
        __doc__ or "",
        model=(
            "",
            "folder of a ternary model; empty: what bench/ternary_quality.py distilled last",
        ),
        engine=("ternary", "ternary, or another engine for a dense model"),
        cycles=(2, "cycles"),
        rows=(0, "most answers that a cycle learns from; 0: as many as this machine is fast"),
        files=(40, "held-out files, six positions each"),
        beside=(0.5, "suggestions per second while a cycle goes on"),
        learning_rate=(0.0, "step size of the update; 0: the demo's"),
    )
    if options.quick:
        options.cycles, options.rows, options.files = 1, 12, 4
    options.model = options.model or str(find_distilled(options.quick))
    with tempfile.TemporaryDirectory(prefix="liveweights-ternary-") as name:
        found = asyncio.run(run(options, Path(name)))
    show(found)
    finish("ternary_cycles", options, found, {})
    verdicts = [cycle["verdict"] for cycle in found["cycles"]]
    if found["failed"] or None in verdicts:
        sys.exit(1)


def find_distilled(quick: bool) -> Path:
    """What ``bench/ternary_quality.py`` trained last; made by it, briefly, where there is none."""
    place = work_folder(quick)
    made = sorted(place.glob("distilled-*"), key=lambda folder: folder.stat().st_mtime)
    if made:
        return made[-1]
    if not quick:
        raise SystemExit("no ternary model is there: run bench/ternary_quality.py, or give --model")
    script = Path(__file__).with_name("ternary_quality.py")
    if run_child([sys.executable, script, "--quick"]).returncode:
        raise SystemExit("bench/ternary_quality.py --quick failed")
    return find_distilled(quick)


def show(found: dict[str, Any]) -> None:
    columns = ("cycle", "outcome", "verdict", "reactions", "seconds", "reason")
    rows = [[cycle[name] for name in columns] for cycle in found["cycles"]]
    table(f"Learning on {found['model']}", columns, rows)
    for name in ("base", "last"):
        score = found[name]
        print(f"{name}: {score['accepted']} of {score['shown']} suggestions accepted")
    reward = found["reward_diff"]
    print(
        f"mean reward {reward['mean']:+.3f} [{reward['low']:+.3f}, {reward['high']:+.3f}]; "
        f"{found['failed']} of {found['requests']} requests failed; adapters "
        f"{[one['bytes'] for one in found['adapters']]} bytes"
    )


if __name__ == "__main__":
    main()
