"""The unit that is served, learnt, gated and released: immutable weights with a name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["base", "adapter", "full"]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Immutable weights, named by their content.

    ``id`` is ``name@<first 12 hex digits of the content hash>`` and is never reused.
    ``folder`` holds safetensors: a whole model (``base``, ``full``) or a LoRA delta on the
    checkpoint ``base`` (``adapter``). ``parent`` is the checkpoint that the weights were
    learnt from; a base has none.
    """

    id: str
    kind: Kind
    folder: Path
    base: str | None = None
    parent: str | None = None

    @property
    def name(self) -> str:
        return self.id.partition("@")[0]
