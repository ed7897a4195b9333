"""What a gate costs, and what it lets through.

Sandboxed programs per second beside bare ones; simulated releases beside theory; the wall time of
a full gate on a running service, whose candidate is the packaged model with slight noise added.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from _releases import (
    BETTER,
    EQUAL,
    GATE,
    LIVE_ONLY,
    MUCH_BETTER,
    MUCH_WORSE,
    WORSE,
    canary,
    cases_in_theory,
    looks,
    looks_in_theory,
    release,
)
from _report import arguments, finish, table
from liveweights.gate.findings import judge
from liveweights.gate.sandbox import Sandbox, SandboxUnavailable, open_sandbox
from liveweights.gate.settings import GateSettings
from liveweights.gate.suites.catalogue import BUILT_IN, open_suite
from liveweights.gate.suites.model import open_models
from liveweights.gate.suites.run import Plan, run_suite
from liveweights.release.settings import CanarySettings

CYCLE = 5400.0
TOLD = (1.0, 0.3, 0.0)
"""Of refused answers, the share of which users write what they wanted."""
PROGRAM = b"print(sum(range(1000)))\n"
SUITES = ("code", "mathematics", "knowledge", "instructions", "terminal")
LIVE = CanarySettings(
    lowest=-0.25,
    highest=0.75,
    unit="reward",
    max_seconds=1e9,
    max_rewards=10_000,
    at_limit="abort",
)


async def executions(sandbox: Sandbox, count: int) -> tuple[float, float]:
    """Programs per second, two at a time: in the sandbox and bare, in alternating blocks of 10."""
    seconds = {"sandboxed": 0.0, "bare": 0.0}

    async def sandboxed() -> None:
        found = await sandbox.run([sandbox.python, "-I", "-"], stdin=PROGRAM)
        assert found.ok, found

    async def bare() -> None:
        process = await asyncio.create_subprocess_exec(
            sandbox.python,
            "-I",
            "-",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        await process.communicate(PROGRAM)
        assert process.returncode == 0

    async def block(one: Any) -> None:
        for _ in range(5):
            await asyncio.gather(one(), one())

    for _ in range(max(1, count // 10)):
        for name, one in (("sandboxed", sandboxed), ("bare", bare)):
            began = time.perf_counter()
            await block(one)
            seconds[name] += time.perf_counter() - began
    blocks = max(1, count // 10) * 10
    return blocks / seconds["sandboxed"], blocks / seconds["bare"]


def _told(
    rng: np.random.Generator, count: int, settings: GateSettings, rows: list[list[Any]]
) -> dict[str, dict[str, int]]:
    """Outcomes where users write what they wanted of only some refused answers, or of none."""
    found: dict[str, dict[str, int]] = {}
    for kind in (EQUAL, MUCH_BETTER, MUCH_WORSE):
        for share in TOLD:
            outcomes = Counter(
                release(rng, kind, 300, settings, told=share).outcome for _ in range(count)
            )
            name = f"{kind.name}, wishes told of {share:.0%} of refusals"
            found[name] = dict(outcomes)
            said = ", ".join(f"{outcome} {n}" for outcome, n in sorted(outcomes.items()))
            rows.append([name, f"at the gate, of {count}", said, ""])
    return found


def releases(count: int) -> dict[str, Any]:
    """Simulated releases of every kind, with theory beside what has one."""
    rng = np.random.default_rng(0)
    plain = msgspec.structs.replace(GATE, suites=())
    nominal = (1 - GATE.confidence) / 2
    cases = cases_in_theory(BETTER)
    rows: list[list[Any]] = []

    passed = sum(release(rng, EQUAL, 300, plain).outcome == "PASS" for _ in range(count))
    rows.append([EQUAL.name, f"passed the gate, of {count}", passed, f"<= {nominal * count:g}"])
    found = sum(release(rng, BETTER, cases, plain).outcome == "PASS" for _ in range(count))
    what = f"passed the gate with {cases} cases, of {count}"
    rows.append([BETTER.name, what, found, f"{GATE.power * count:g}"])
    needed = [looks(rng, BETTER, nominal, 100_000) for _ in range(count)]
    mean = float(np.mean([n for n in needed if n is not None]))
    theory = looks_in_theory(BETTER, nominal)
    rows.append([BETTER.name, "cases until an e-value finds it", mean, theory])

    told = _told(rng, count, plain, rows)
    outcomes: dict[str, dict[str, int]] = {}
    for kind in WORSE:
        seen = Counter(release(rng, kind, 300).outcome for _ in range(count // 4))
        outcomes[kind.name] = dict(seen)
        said = ", ".join(f"{outcome} {n}" for outcome, n in sorted(seen.items()))
        rows.append([kind.name, f"at the gate, of {count // 4}", said, "no PASS"])
    live = [canary(rng, LIVE_ONLY, LIVE) for _ in range(max(2, count // 20))]
    actions = dict(Counter(action for action, _ in live))
    exposed = float(np.mean([users for _, users in live]))
    rows.append([LIVE_ONLY.name, "by the canary", str(actions), "ROLLBACK"])
    rows.append([LIVE_ONLY.name, "users exposed until then, mean", exposed, ""])
    table(f"{count} simulated releases", ("candidate", "what", "found", "theory"), rows)
    return {
        "releases": count,
        "equal_passed": passed,
        "equal_nominal": nominal * count,
        "better_cases": cases,
        "better_found": found,
        "better_power": GATE.power,
        "evalue_cases": mean,
        "evalue_cases_theory": theory,
        "told": told,
        "worse": outcomes,
        "live_only": actions,
        "live_only_exposed": exposed,
    }


async def full_gate(cases: int) -> dict[str, Any]:
    """Wall time of every suite that can be run here, all of its cases, on a service of its own."""
    from _noise import serve_with_noise

    seconds: dict[str, float] = {}
    rows: list[list[Any]] = []
    measured: list[Any] = []
    with tempfile.TemporaryDirectory(prefix="liveweights-bench-", dir="/tmp") as folder:
        async with (
            serve_with_noise(Path(folder)) as (url, base, candidate),
            open_models(url, (candidate, base)) as (ours, theirs),
        ):
            for name in SUITES:
                if lack := BUILT_IN[name][1]():
                    print(f"{name} is left out: it needs {lack}", file=sys.stderr)
                    continue
                began = time.perf_counter()
                async with open_suite(name) as suite:
                    found = await run_suite(suite, ours, theirs, Plan(cases=cases))
                seconds[name] = time.perf_counter() - began
                measured.append(found)
    for found, finding in zip(measured, judge(measured, 0.95, 0.8), strict=True):
        difference = finding.difference
        interval = f"[{difference.low:+.3f}, {difference.high:+.3f}]"
        rows.append(
            [
                found.suite,
                len(found.candidate),
                seconds[found.suite],
                difference.incumbent,
                difference.candidate,
                f"{difference.mean:+.3f} {interval}",
                finding.standing,
            ]
        )
    total = sum(seconds.values())
    columns = ("suite", "cases", "seconds", "base", "noisy", "difference", "standing")
    table("A full gate: the packaged model against itself with noise", columns, rows)
    share = total / CYCLE
    print(f"{total:.0f} s in all: {share:.1%} of a cycle of 90 minutes")
    return {
        "seconds": total,
        "share_of_cycle": share,
        "suites": {name: round(value, 2) for name, value in seconds.items()},
        "standings": {f.suite: f.standing for f in judge(measured, 0.95, 0.8)},
    }


async def measure_sandbox(count: int) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        sandbox = await open_sandbox()
    except SandboxUnavailable as error:
        print(f"the sandbox is left out: {error}", file=sys.stderr)
        return {}, {}
    inside, outside = await executions(sandbox, count)
    rows: list[list[Any]] = [["sandboxed", inside, 1.0], ["bare python", outside, outside / inside]]
    table("Programs per second, two at a time", ("how", "per second", "ratio"), rows)
    print(f"held by: {sandbox.enforcement}")
    return (
        {"executions_per_second": inside, "enforcement": sandbox.enforcement},
        {"bare_per_second": outside, "bare_over_sandboxed": outside / inside},
    )


def main() -> None:
    options = arguments(
        __doc__ or "",
        cases=(0, "most cases per suite of the full gate; 0: all"),
        parts=("sandbox,releases,gate", "what to measure"),
    )
    parts = options.parts.split(",")
    figures: dict[str, Any] = {}
    peers: dict[str, Any] = {}
    if "sandbox" in parts:
        inside, peers = asyncio.run(measure_sandbox(20 if options.quick else 200))
        figures |= inside
    if "releases" in parts:
        figures |= releases(40 if options.quick else 200)
    if "gate" in parts:
        cases = options.cases or (4 if options.quick else 0)
        figures["full_gate"] = asyncio.run(full_gate(cases))
    finish("gate", options, figures, peers)


if __name__ == "__main__":
    main()
