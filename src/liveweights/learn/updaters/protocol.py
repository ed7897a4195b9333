"""The seam between the update's arithmetic and the weights that it moves."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from liveweights.weights.checkpoint import Kind


class Updater(Protocol):
    """What every updater does; ``tests/learn/updaters/conformance.py`` says it in tests."""

    @property
    def kind(self) -> Kind:
        """What ``save`` makes: an ``adapter``, or ``full`` weights."""
        ...

    @property
    def model(self) -> Any:
        """The causal language model that computes with the current weights."""
        ...

    @property
    def learning_rate(self) -> float:
        """AdamW's step size for these parameters."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about settings that change nothing here."""
        ...

    def parameters(self) -> list[Any]:
        """The float32 tensors that an optimizer may move. Nothing else of the model changes."""
        ...

    def base(self) -> AbstractContextManager[None]:
        """While it is open, ``model`` computes what the base does."""
        ...

    def finish(self) -> None:
        """After the last step: make ``model`` compute exactly what ``save`` writes."""
        ...

    def save(self, folder: Path) -> None:
        """Write the checkpoint's files to ``folder``, which is made. Raises ValueError."""
        ...
