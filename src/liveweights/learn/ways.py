"""Ways of computing that were found right for a model, kept so that each is looked for once."""

from __future__ import annotations

import hashlib
import logging
from importlib.metadata import version
from pathlib import Path

import msgspec

from liveweights import __version__
from liveweights.learn.layout import Layout
from liveweights.learn.settings import LearnSettings
from liveweights.weights.staging import write_whole

log = logging.getLogger(__name__)


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """How rows are laid out, whether the body is computed apart from its head, and the bytes of
    activations that one token of a row leaves for the backward pass."""

    layout: Layout
    headless: bool
    bytes_per_node: float


def file_of(folder: Path, base: Path, settings: LearnSettings, *, dtype: str, device: str) -> Path:
    """Where the way is kept for a model of this config on this software."""
    parts = [
        (base / "config.json").read_bytes().hex(),
        settings.updater,
        ",".join(settings.adapt),
        str(settings.rank),
        dtype,
        device,
        __version__,
        *(version(name) for name in ("torch", "transformers", "peft")),
    ]
    return folder / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:24]}.json"


def read_way(file: Path) -> Way | None:
    """What is kept there; None where nothing is that can be read."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Way)
    except (OSError, msgspec.MsgspecError):
        return None


def write_way(file: Path, way: Way) -> None:
    """Keep it, whole or not at all; where there is no room, the next policy looks for it again."""
    try:
        write_whole(file, msgspec.json.encode(way))
    except OSError as error:
        log.warning("how the model is computed is not kept: %s", error)
