"""How far a running update is."""

from __future__ import annotations

import json
from pathlib import Path


def read_progress(home: Path, cycle: int) -> dict[str, int] | None:
    """Rows done and in all of a running update."""
    try:
        return json.loads((home / "cycles" / str(cycle) / "progress.json").read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
