"""What a killed update goes on from: the state after its last step that was kept."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

log = logging.getLogger(__name__)

PART = 20
"""Keeping takes at most one part in so many of an update's time."""


@dataclass(frozen=True, slots=True)
class Kept:
    """``parameters`` and ``optimizer`` after ``numbers["count"]`` gradient steps; ``numbers`` are
    whatever else the loop goes on from."""

    parameters: list[Tensor]
    optimizer: dict[str, Any]
    numbers: dict[str, Any]


class Resume:
    """A file that holds one state of an update, whole or not at all. A state is taken by the same
    job only: one that begins with the same weights (``origin``) and has the same
    ``fingerprint``."""

    def __init__(self, file: Path, origin: str = "") -> None:
        self._file = file
        self._origin = origin
        self._next = 0.0

    def load(self, fingerprint: str) -> Kept | None:
        """What was kept of this job; None where nothing was, or of another one."""
        try:
            # Tensors and plain values only: nothing in the file is run.
            state: Any = torch.load(self._file, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            return None
        if state["fingerprint"] != [self._origin, fingerprint]:
            log.info("what was kept of an update is of another one; this one begins anew")
            return None
        return Kept(cast("list[Tensor]", state["parameters"]), state["optimizer"], state["numbers"])

    def keep(
        self,
        fingerprint: str,
        parameters: Sequence[Tensor],
        optimizer: dict[str, Any],
        numbers: dict[str, Any],
    ) -> None:
        """After a step; where the last state was kept a moment ago, that one has to do."""
        began = time.monotonic()
        if began < self._next:
            return
        partial = self._file.with_suffix(".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        torch.save(
            {
                "fingerprint": [self._origin, fingerprint],
                "parameters": [parameter.detach().cpu() for parameter in parameters],
                "optimizer": optimizer,
                "numbers": numbers,
            },
            partial,
        )
        os.replace(partial, self._file)
        now = time.monotonic()
        self._next = now + PART * (now - began)
