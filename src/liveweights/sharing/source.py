"""A checkpoint with what it is on."""

from __future__ import annotations

from dataclasses import dataclass

from liveweights.weights.checkpoint import Checkpoint


@dataclass(frozen=True, slots=True)
class Source:
    """A checkpoint with whole weights of what it is on: ``base``, which is what an adapter changes,
    and ``root``, where its learning began; both are in folders that can be read."""

    checkpoint: Checkpoint
    base: Checkpoint
    root: Checkpoint
