"""A base's card: what is known of it; what is not is ``unknown``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from liveweights.weights import hub
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import HASHES, hash_files
from liveweights.weights.models import parameters, read_json


def read_card(checkpoint: Checkpoint, cache: Path) -> dict[str, Any]:
    """What is known of a base: architecture, number of parameters, context, licence, origin, and
    the hash of each file that its id covers. Raises OSError, ValueError."""
    config = read_json(checkpoint.folder / "config.json")
    text = config.get("text_config") or config
    origin = read_json(checkpoint.folder / "origin.json")
    return {
        "id": checkpoint.id,
        "architecture": (config.get("architectures") or [config.get("model_type")])[0],
        "parameters": parameters(checkpoint.folder),
        "context": text.get("max_position_embeddings"),
        "licence": origin.get("licence") or _readme_licence(checkpoint.folder) or "unknown",
        "origin": origin.get("origin") or hub.origin(checkpoint.folder) or str(checkpoint.folder),
        "files": hash_files(checkpoint.folder, cache / HASHES),
    }


def _readme_licence(folder: Path) -> str | None:
    try:
        head = (folder / "README.md").read_text(encoding="utf-8")[:4000]
    except (OSError, UnicodeDecodeError):
        return None
    line = re.search(r"^license:\s*(\S+)\s*$", head, flags=re.MULTILINE)
    return line[1] if line else None
