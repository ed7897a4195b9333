"""When a checkpoint says nothing: the selection function that lies beside its weights.

A drafted answer is shown where slope * c + intercept >= 0, else with the probability

    P(show) = sigmoid((slope * c + intercept) / temperature)

where its confidence c is the sum of its tokens' raw log-probabilities, of the first ``tokens`` of
them. Chance only ever makes a checkpoint say more: it withholds no draft at any temperature that it
would not withhold at temperature 0, for which its silence is bounded. This is selective prediction
with a confidence threshold (El-Yaniv & Wiener 2010, "On the foundations of noise-free selective
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
        """The confidence from which an answer is shown for sure."""
        return -self.intercept / self.slope

    def least(self, uniform: float, temperature: float) -> float:
        """The confidence from which an answer is shown, for a ``uniform`` draw in [0, 1).

        Drawn once, so that a draft can be given up as soon as it falls below. Never above the
        threshold, which it is at temperature 0.
        """
        if temperature < COLDEST:
            return self.threshold
        odds = math.log(uniform / (1.0 - uniform)) if 0.0 < uniform < 1.0 else -math.inf
        return min(self.threshold, (temperature * odds - self.intercept) / self.slope)

    def logprob(self, confidence: float, temperature: float, *, shown: bool) -> float:
        """Natural logarithm of the probability that an answer is shown, or that it is not; 0 at
        temperature 0, where there is no choice."""
        if temperature < COLDEST:
            return 0.0
        if self.shows(confidence):
            return 0.0 if shown else -math.inf
        logit = (self.slope * confidence + self.intercept) / temperature
        return -_softplus(-logit if shown else logit)

    def shows(self, confidence: float) -> bool:
        """Whether an answer is shown whatever is drawn, and the only ones at temperature 0."""
        return confidence >= self.threshold


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
