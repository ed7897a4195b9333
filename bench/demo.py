"""The demo, again and again on fresh homes: does it always end well, and how soon?

The last ``--busy`` runs are beside a process that keeps one core busy. With ``--json FILE`` each
run is kept there, and those that are there already are not done again. Ends with status 1 if a
run's exit code is not 0.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

from _child import run_child
from _report import arguments, finish, table

COMMAND = "from liveweights.cli import main; main()"
_MOMENT = re.compile(r"^(\d+):(\d\d)  (RELEASED|PROOF)", re.MULTILINE)


def run(folder: Path, busy: bool) -> dict[str, Any]:
    """One demo: exit code, seconds in all, and of the first release and the first proof."""
    rival = None
    if busy:
        rival = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    began = time.monotonic()
    try:
        ended = run_child(
            [sys.executable, "-c", COMMAND, "demo", "--plain", "--folder", folder], capture=True
        )
    finally:
        if rival is not None:
            rival.kill()
            rival.wait()
    first: dict[str, float] = {}
    for minutes, seconds, what in _MOMENT.findall(ended.stdout):
        first.setdefault(what, 60 * int(minutes) + int(seconds))
    card: dict[str, Any] = {}
    if (folder / "scorecard.json").exists():
        card = json.loads((folder / "scorecard.json").read_text())
    if ended.returncode:
        print(ended.stdout[-2000:], ended.stderr[-2000:])
    return {
        "exit": ended.returncode,
        "on": date.today().isoformat(),
        "busy": busy,
        "seconds": time.monotonic() - began,
        "released": first.get("RELEASED"),
        "proof": first.get("PROOF"),
        "releases": card.get("releases"),
        "requests": card.get("requests"),
        "failed": card.get("failed"),
        "reward": card.get("reward_diff"),
        "base": card.get("base"),
        "last": card.get("last"),
    }


def row(number: int, found: dict[str, Any]) -> list[str]:
    reward, base, last = (found[name] or {} for name in ("reward", "base", "last"))
    said = ""
    if reward:
        said = f"{reward['mean']:+.3f} [{reward['low']:+.3f}, {reward['high']:+.3f}]"
    return [
        str(number),
        "yes" if found["busy"] else "",
        str(found["exit"]),
        *(str(found[name] or "-") for name in ("released", "proof")),
        f"{found['seconds']:.0f}",
        str(found["releases"]),
        f"{found['failed']} of {found['requests']}",
        f"{base.get('accepted')} of {base.get('shown')}",
        f"{last.get('accepted')} of {last.get('shown')}",
        said,
    ]


def main() -> None:
    options = arguments(
        __doc__ or "", runs=(20, "runs"), busy=(10, "how many of them beside a busy core")
    )
    runs, busy = (1, 0) if options.quick else (options.runs, options.busy)
    found: list[dict[str, Any]] = []
    if options.json and options.json.exists():
        found = json.loads(options.json.read_text())["figures"]["each"]
    for number in range(len(found), runs):
        with tempfile.TemporaryDirectory(prefix="liveweights-demo-") as folder:
            found.append(run(Path(folder) / "run", busy=number >= runs - busy))
        print("| " + " | ".join(row(number + 1, found[-1])) + " |", flush=True)
        finish("demo", options, figures_of(found), {})
    table(
        "The demo",
        ("run", "busy", "exit", "release, s", "proof, s", "end, s", "releases", "failed",
         "base taken", "last taken", "reward, 95%"),
        [row(number + 1, one) for number, one in enumerate(found)],
    )  # fmt: skip
    finish("demo", options, figures_of(found), {})
    if any(one["exit"] for one in found):
        sys.exit(1)


def figures_of(found: list[dict[str, Any]]) -> dict[str, Any]:
    quiet = [one for one in found if not one["busy"]]
    return {
        "runs": len(found),
        "ended_with_0": sum(one["exit"] == 0 for one in found),
        "slowest_proof": max((one["proof"] or 0 for one in quiet), default=None),
        "slowest_end": max((one["seconds"] for one in quiet), default=None),
        "each": found,
    }


if __name__ == "__main__":
    main()
