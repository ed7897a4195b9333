"""What a killed update goes on from: the state after its last step that was kept."""

from __future__ import annotations

import logging
import math
import os
import pickle
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

log = logging.getLogger(__name__)

PART = 20
"""Keeping takes at most one part in so many of an update's time."""

_STATE = ("parameters", "optimizer", "numbers")
_UNREADABLE = (
    *(OSError, EOFError, RuntimeError, pickle.UnpicklingError),
    *(ValueError, LookupError, TypeError, AttributeError),
)
"""What PyTorch raises for a file that is empty, cut or was overwritten, and what then lacks a
state's parts."""


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
        """What was kept of this job; None where nothing was, of another one, or what cannot be
        read."""
        try:
            # Tensors and plain values only: nothing in the file is run.
            state: Any = torch.load(self._file, map_location="cpu", weights_only=True)
            whose, kept = state["fingerprint"], Kept(*(state[name] for name in _STATE))
        except FileNotFoundError:
            return None
        except _UNREADABLE as error:
            log.warning("what was kept of an update cannot be read; it begins anew: %s", error)
            return None
        if whose != [self._origin, fingerprint]:
            log.info("what was kept of an update is of another one; this one begins anew")
            return None
        return kept

    def keep(
        self,
        fingerprint: str,
        parameters: Sequence[Tensor],
        optimizer: dict[str, Any],
        numbers: dict[str, Any],
    ) -> None:
        """After a step; where the last state was kept a moment ago, that one has to do.

        Where there is no room for it, or the disk fails, the update goes on without.
        """
        began = time.monotonic()
        if began < self._next:
            return
        state = {
            "fingerprint": [self._origin, fingerprint],
            "parameters": [parameter.detach().cpu() for parameter in parameters],
            "optimizer": optimizer,
            "numbers": numbers,
        }
        try:
            self._write(state)
        except (OSError, RuntimeError) as error:  # the latter is how PyTorch says what a disk says
            log.warning("the state of the update is not kept from here on: %s", error)
            self._next = math.inf
            return
        now = time.monotonic()
        self._next = now + PART * (now - began)

    def _write(self, state: dict[str, Any]) -> None:
        """Whole or not at all, be it that the power fails."""
        partial = self._file.with_suffix(".partial")
        partial.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._file)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
