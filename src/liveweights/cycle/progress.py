"""How far a cycle's step is: told by whoever does it in a file of the cycle, read by who asks."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from liveweights.cycle.restarting import work_folder
from liveweights.learn.job import PROGRESS, Progress


def read_progress(home: Path, cycle: int) -> dict[str, Any] | None:
    """Rows done and in all of the running step's stage, rows per second and the seconds that are
    left of the step; None where nothing was told yet."""
    try:
        told = (work_folder(home, cycle) / PROGRESS).read_bytes()
        progress = msgspec.json.decode(told, type=Progress)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    return {
        **msgspec.to_builtins(progress),
        "rows_per_second": progress.rows_per_second,
        "seconds_left": progress.seconds_left,
    }


def tell_asked(folder: Path) -> Callable[[int, int], None]:
    """What a gate tells how many drafts of how many are there."""
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)

    def tell(done: int, total: int) -> None:
        seconds = time.monotonic() - began
        progress = Progress(
            stage="asking",
            done=done,
            total=total,
            part=done / total if total else 0.0,
            stage_seconds=seconds,
            seconds=seconds,
        )
        partial = folder / f"{PROGRESS}.partial"
        partial.write_bytes(msgspec.json.encode(progress))
        os.replace(partial, folder / PROGRESS)

    return tell
