"""When a checkpoint says nothing: the selection function that lies beside its weights.

A drafted answer's confidence c is the sum of its tokens' raw log-probabilities, of the first
``tokens`` of them. It is shown where slope * c + intercept >= 0, and else with the probability

    P(show) = sigmoid((slope * c + intercept) / temperature)

So chance only ever speaks: what was bounded for what is shown at temperature 0 holds at every
temperature, and what silence hides is seen now and then. This is selective prediction with a
confidence threshold (El-Yaniv & Wiener 2010, "On the foundations of noise-free selective
classification"; Geifman & El-Yaniv 2017, arXiv 1705.08500).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import msgspec

FILE = "selection.json"
TOKENS = 32
COLDEST = 1e-3


class BrokenSelection(ValueError):
    """A checkpoint's selection cannot be read; the message names the file."""


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``slope`` is positive: the surer, the sooner shown."""

    slope: float
    intercept: float
    tokens: int = TOKENS

    @property
    def threshold(self) -> float:
        """The confidence from which an answer is always shown."""
        return -self.intercept / self.slope

    def least(self, uniform: float, temperature: float) -> float:
        """The confidence from which an answer is shown, for a ``uniform`` draw in [0, 1): the
        threshold at temperature 0, and never above it.

        Drawn once, so that a draft can be given up as soon as it falls below.
        """
        if temperature < COLDEST or uniform >= 0.5:
            return self.threshold
        odds = math.log(uniform / (1.0 - uniform)) if uniform > 0.0 else -math.inf
        return (temperature * odds - self.intercept) / self.slope

    def logprob(self, confidence: float, temperature: float, *, shown: bool) -> float:
        """Natural logarithm of the probability that an answer is shown, or, for one below the
        threshold, that it is not; 0 where there is no choice."""
        logit = self.slope * confidence + self.intercept
        if temperature < COLDEST or (shown and logit >= 0.0):
            return 0.0
        logit = min(logit, 0.0) / temperature  # what is withheld may be rounded up to it
        return -_softplus(-logit if shown else logit)

    def shows(self, confidence: float) -> bool:
        """Whether an answer is shown at temperature 0."""
        return self.slope * confidence + self.intercept >= 0.0


def confidence(raw_logprobs: Sequence[float], tokens: int = TOKENS) -> float:
    """Of an answer, from its tokens' raw log-probabilities."""
    return float(sum(raw_logprobs[:tokens]))


def read_selection(folder: Path) -> Selection | None:
    """The one in a checkpoint's folder; None where it has none, and shows whatever it drafts.

    Raises BrokenSelection where the file cannot be read.
    """
    file = folder / FILE
    if not file.exists():
        return None
    try:
        return msgspec.json.decode(file.read_bytes(), type=Selection)
    except msgspec.MsgspecError as error:
        raise BrokenSelection(f"{file} is not a selection: {error}") from error


def write_selection(folder: Path, selection: Selection) -> None:
    """Put it beside a checkpoint's weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FILE).write_bytes(msgspec.json.format(msgspec.json.encode(selection), indent=2))


def _softplus(value: float) -> float:
    return max(value, 0.0) + math.log1p(math.exp(-abs(value)))
