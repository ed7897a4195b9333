"""How far a running update is, told as it goes: stages with counts, and a part of the whole."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from liveweights.learn.job import Progress, Stage, Step

TRAINED = 3
"""What a trained row costs, in rows that are only scored: a pass forward, and twice that back."""
EVERY = 0.2
"""Least seconds between two tellings within a stage."""


@dataclass(frozen=True, slots=True)
class Work:
    """Rows that each stage is about, as far as that is known before the first."""

    scored: int
    compared: int
    trained: int

    def weigh(self) -> dict[Stage, float]:
        """What each stage costs, in rows that are scored."""
        return {
            "scoring": self.scored,
            "comparing": self.compared,
            "updating": TRAINED * self.trained,
            "measuring": self.scored,
        }


class Tracker:
    """Counts what an update does and hands it to ``tell``, seldom enough to cost nothing."""

    def __init__(
        self,
        work: Work,
        tell: Callable[[Progress], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._weights = work.weigh()
        self._tell = tell
        self._clock = clock
        self._began = self._stage_began = clock()
        self._next = 0.0
        self._stage: Stage = "scoring"
        self._done = self._total = 0
        self._step: Step | None = None

    def begin(self, stage: Stage, total: int = 0) -> None:
        """A stage of ``total`` rows, or of as many as its first pass says."""
        self._stage, self._total, self._done = stage, total, 0
        self._stage_began = self._clock()
        self._say()

    def passed(self, rows: int, total: int) -> None:
        """So many rows were scored, of the ``total`` that were asked for together."""
        self._total = max(self._total, total)
        self._done = min(self._done + rows, self._total)
        if self._clock() >= self._next:
            self._say()

    def stepped(self, step: Step) -> None:
        """A gradient step was made: the first begins its stage."""
        if self._stage != "updating":
            self._stage, self._stage_began = "updating", self._clock()
        self._step, self._done, self._total = step, step.done, step.total
        self._say()

    def _say(self) -> None:
        now, step = self._clock(), self._step
        self._next = now + EVERY
        self._tell(
            Progress(
                stage=self._stage,
                done=self._done,
                total=self._total,
                part=self._part(),
                stage_seconds=now - self._stage_began,
                seconds=now - self._began,
                steps=step.steps if step else 0,
                loss=step.loss if step else 0.0,
                kl=step.kl if step else 0.0,
                grad_norm=step.grad_norm if step else 0.0,
            )
        )

    def _part(self) -> float:
        stages = list(self._weights)
        place = stages.index(self._stage)
        before = sum(self._weights[stage] for stage in stages[:place])
        share = self._done / self._total if self._total else 0.0
        whole = sum(self._weights.values())
        return min(1.0, (before + share * self._weights[self._stage]) / whole) if whole else 0.0
