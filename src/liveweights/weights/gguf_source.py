"""The GGUF files that a checkpoint's folder stands for, where it has no weights of its own."""

from __future__ import annotations

import json
from pathlib import Path

from liveweights.weights.content import weight_files

SOURCE = "gguf.source"
"""Holds the files' paths, as a JSON list. No id covers it: a file that is moved stays the same."""
HASHED = "gguf.json"
"""Holds the files' SHA-256 in order; ids cover it, so that they cover all bytes."""


def source_files(folder: Path) -> list[Path]:
    """The GGUF files behind a checkpoint's folder, the first first; none behind one that holds
    its own weights, whatever else is in it."""
    if weight_files(folder):
        return []
    try:
        return [Path(path) for path in json.loads((folder / SOURCE).read_text())]
    except FileNotFoundError:
        return []
