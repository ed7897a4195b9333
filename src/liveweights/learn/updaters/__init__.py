"""What of a model an update may change, and how the changed weights are kept."""

from __future__ import annotations

from pathlib import Path

from liveweights.learn.settings import LearnSettings
from liveweights.learn.updaters.full import FullWeights
from liveweights.learn.updaters.lora import Lora
from liveweights.learn.updaters.protocol import Updater


def open_updater(base: Path, parent: Path | None, settings: LearnSettings) -> Updater:
    """The configured updater, at ``parent``'s weights (the base's where None).

    Raises OSError or ValueError where a folder holds no loadable weights.
    """
    kinds = {"lora": Lora, "full": FullWeights}
    return kinds[settings.updater](base, parent, settings)
