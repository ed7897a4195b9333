"""The trainer's log-probabilities: by them it is told whether an engine computes a checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

FILE = "probes.json"
Precision = Literal["float32", "bfloat16"]


class Probe(msgspec.Struct, frozen=True):
    """A prompt and the trainer's log-probabilities of likely next tokens.

    ``top`` holds (token id, log-probability of the checkpoint, log-probability of its base).
    """

    prompt_ids: list[int]
    top: list[tuple[int, float, float]]


class Probes(msgspec.Struct, frozen=True):
    """What ``probes.json`` in a checkpoint's folder holds."""

    probes: list[Probe]
    dtype: Precision = "float32"
    """The trainer's precision."""


def read_probes(folder: Path) -> Probes | None:
    """The probes of a checkpoint's folder, None where it has none. Raises ValueError."""
    try:
        raw = (folder / FILE).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return msgspec.json.decode(raw, type=Probes)
    except msgspec.MsgspecError as error:
        raise ValueError(f"{folder / FILE} cannot be read: {error}") from error
