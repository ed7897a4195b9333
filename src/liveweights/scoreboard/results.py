"""What a score is: one attempt at one case, and all that it depends on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, NamedTuple

import msgspec
from msgspec import Meta

from liveweights.gate.suites.run import REFUSED

OWN = "own"
"""The source of what was asked here."""
IMPORT = "import"
"""The runner of what was asked elsewhere."""


class ScoreboardError(ValueError):
    """Something cannot be scored or compared; the message says what, and what to do."""


class Conditions(msgspec.Struct, frozen=True, kw_only=True):
    """What scores depend on beside the model: two models compare only where all of it is the same.

    ``content`` is a digest of what the suite asks and how it scores. ``harness`` puts each case
    ``samples`` times, ``seconds`` at most each. ``repeat`` 0 is what ranks; other numbers are the
    same cases with other seeds, which show the noise. ``source`` is ``own``, or names whose
    results these are. ``runner`` is the program that asked, with its version, or ``import``.
    """

    suite: str
    version: str
    content: str
    harness: str
    samples: int
    seconds: float
    temperature: float
    max_tokens: int
    seed: int
    cases: int
    runner: str
    repeat: int = 0
    source: str = OWN


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One model under one set of conditions: by its public name, and the checkpoint that answered
    (None: an import does not say). ``hardware`` is what answered."""

    model: str
    checkpoint: str | None
    conditions: Conditions
    hardware: str


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt. ``score`` in [0, 1]; ``group`` names what the case depends on; ``seconds`` and
    tokens are of all that was asked for it, None where an answer did not count them or was not
    waited for; ``nanos`` its price in billionths of the run's currency, None where there is none or
    the tokens are not known."""

    case: str
    sample: int = 0
    group: str | None = None
    score: Annotated[float, Meta(ge=0, le=1)]
    seconds: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    nanos: int | None = None
    detail: str = ""


class StandingScore(NamedTuple):
    """``score`` in [0, 1] of a model, whose ``checkpoint`` answered then."""

    model: str
    checkpoint: str | None
    suite: str
    score: float


class Scored(msgspec.Struct, frozen=True, kw_only=True):
    """A run with its results by case and sample; ``currency`` is that of their prices."""

    id: int
    run: Run
    created_at: datetime
    currency: str | None
    results: Mapping[tuple[str, int], Result]

    @property
    def is_whole(self) -> bool:
        """Whether every case was attempted as often as it should be, and not every attempt
        refused: a service that does not take a suite at all says nothing about the model."""
        conditions = self.run.conditions
        return len(self.results) == conditions.cases * conditions.samples and not self.refusal

    @property
    def refusal(self) -> str:
        """What was said of the first attempt where every one was refused, else nothing."""
        return find_refusal(self.results.values())


def find_refusal(results: Iterable[Result]) -> str:
    """As `Scored.refusal`."""
    first = ""
    for result in results:
        if not result.detail.startswith(REFUSED):
            return ""
        first = first or result.detail
    return first
