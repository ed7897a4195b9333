"""What stands beside exported weights: a card for programs, and a README as hubs read it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from liveweights.sharing.forms import Form
from liveweights.sharing.repetition import Repetition
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import hash_file

CARD, README = "card.json", "README.md"
_KEPT = ("cycle", "code", "licence", "origin", "owed", "learnt_at", "foreign", "merged_of", "rank")
"""Of a checkpoint's own card; its report names users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What is said of an export. ``base_files`` are the SHA-256 of the files of the base that the
    weights are on, by name; ``root`` is where learning began; ``precision`` is that of a GGUF."""

    checkpoint: Checkpoint
    root: str
    form: Form
    precision: str | None
    base_name: str
    licence: str
    base_files: Mapping[str, str]
    check: Repetition


def write_card(exported: Exported, card: Mapping[str, Any], folder: Path) -> None:
    """Write ``card.json`` with the hash of every file that is in ``folder``, and ``README.md``.
    ``card`` is the checkpoint's own. Nothing of the moment is in them. Raises OSError."""
    checkpoint, repeated = exported.checkpoint, len(exported.check.repeated)
    files = {
        file.relative_to(folder).as_posix(): hash_file(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    whole = {
        **{name: card[name] for name in _KEPT if name in card},
        "id": checkpoint.id,
        "kind": checkpoint.kind,
        "base": checkpoint.base,
        "root": exported.root,
        "parent": checkpoint.parent,
        "licence": exported.licence,
        "form": exported.form,
        "precision": exported.precision,
        "base_name": exported.base_name,
        "base_files": dict(exported.base_files),
        # Which texts they are is nobody else's business.
        "private_data": msgspec.to_builtins(exported.check) | {"repeated": repeated},
        "files": files,
    }
    (folder / CARD).write_text(json.dumps(whole, indent=2, sort_keys=True) + "\n")
    (folder / README).write_text(_describe(exported, whole), encoding="utf-8")


def _describe(exported: Exported, card: Mapping[str, Any]) -> str:
    checkpoint, check = exported.checkpoint, exported.check
    head = ["---"]
    if re.fullmatch(r"[\w.-]+", exported.licence):
        head.append(f"license: {exported.licence.lower()}")  # as hubs spell them
    if re.fullmatch(r"[\w.-]+/[\w.-]+", exported.base_name):
        head.append(f"base_model: {exported.base_name}")
    if exported.form == "peft":
        head.append("library_name: peft")
    what = {
        "peft": "A LoRA adapter for PEFT",
        "merged": "Whole weights as safetensors",
        "gguf": f"Whole weights as GGUF, {exported.precision}",
        "gguf-adapter": f"A LoRA adapter as GGUF, {exported.precision}",
    }[exported.form]
    owed = [f"- owed: {text}" for text in card.get("owed") or ()]
    return "\n".join(
        [
            *head,
            "---",
            f"# {checkpoint.id}",
            "",
            f"{what}, learnt on `{exported.base_name}` (`{checkpoint.base}`).",
            "",
            f"- learnt: {card.get('origin', 'unknown')}",
            f"- goes on from: `{checkpoint.parent or 'nothing'}`",
            f"- licence: {exported.licence}, that of what it is on",
            *owed,
            f"- private data: of {check.asked} texts of users that it learnt from,"
            f" {len(check.repeated)} come back with {check.ngram} tokens in a row"
            + (f"; {check.unasked} could not be looked at" if check.unasked else ""),
            "",
            f"`{CARD}` holds the SHA-256 of every file, and of the files of the base.",
            "",
        ]
    )
