"""How many tokens a model was made for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LEAST = 2048
"""Tokens that are tried however little memory there is, and where nothing says how many a model
was made for."""
# As vLLM reads them (vllm/config/model.py).
_LENGTHS = (
    "max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "model_max_length",
    "max_sequence_length",
)  # fmt: skip


def own_context(config: Mapping[str, Any]) -> int | None:
    """Tokens that a model was made for, by its ``config.json``; None where it does not say."""
    text = config.get("text_config") or config
    lengths = (text.get(name) for name in _LENGTHS)
    return next((n for n in lengths if isinstance(n, int) and n > 0), None)


def read_context(folder: Path) -> int:
    """Tokens that the model in ``folder`` was made for; ``LEAST`` where it does not say."""
    return own_context(read_config(folder)) or LEAST


def read_config(folder: Path) -> dict[str, Any]:
    """A checkpoint's ``config.json``; empty where there is none that can be read."""
    try:
        return json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
