"""Checkpoints of a home by their files, also without the service and its database."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from liveweights.weights.models import read_json
from liveweights.weights.registry import CARD, Registry

CHECKPOINTS = "checkpoints"
"""Of a home: where its checkpoints are."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A checkpoint that was learnt here: its id, the base that it belongs to and the checkpoint
    that it was learnt from."""

    id: str
    base: str | None
    parent: str | None


def find_stored(weights: Collection[str], home: Path) -> list[Stored]:
    """The checkpoints of a home that have just these files of weights, by their SHA-256."""
    folder = home / CHECKPOINTS
    found: list[Stored] = []
    for id in Registry(folder).checkpoints() if weights else ():
        card = read_json(folder / id / CARD)
        files = card.get("files")
        listed = files.items() if isinstance(files, dict) else ()
        if {digest for name, digest in listed if str(name).endswith(".safetensors")} == {*weights}:
            found.append(Stored(id, card.get("base"), card.get("parent")))
    return found
