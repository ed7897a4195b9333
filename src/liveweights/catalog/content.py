"""Naming weights by their content."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

DIGITS = 12
"""Hex digits of the content hash in a checkpoint's id."""


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint folder, in order of name."""
    return sorted(folder.glob("*.safetensors"))


def name_of(model: str) -> str:
    """A checkpoint name made of the last part of a path or hub id: ``[a-z0-9._-]+``."""
    last = model.rstrip("/").rpartition("/")[2]
    return re.sub(r"[^a-z0-9._-]+", "-", last.lower()).strip("-.") or "model"


def content_hash(folder: Path, beside: Path) -> str:
    """SHA-256 over names and contents of the weight files, as 64 hex digits.

    Reading gigabytes at every start is slow, so the hash is kept in the file ``beside`` together
    with size and modification time of every file, and computed again when one of them differs.
    """
    files = weight_files(folder)
    stats = {f.name: [f.stat().st_size, f.stat().st_mtime_ns] for f in files}
    try:
        kept = json.loads(beside.read_text())
        if kept["files"] == stats:
            return str(kept["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # no hash yet, or not one of ours: compute it
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.name}\0{stats[file.name][0]}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    beside.parent.mkdir(parents=True, exist_ok=True)
    partial = beside.with_name(f"{beside.name}.{os.getpid()}.partial")
    partial.write_text(json.dumps({"sha256": digest.hexdigest(), "files": stats}))
    partial.replace(beside)
    return digest.hexdigest()
