"""The step size that a model takes: found from what its steps do, never larger than the setting.

One step size does not fit two models: the same one moves a wide or sharp model's probabilities
many times further. So each step's divergence on rows that are seen for the first time, whose
measure costs nothing, is held against a path from 0 to the target, and the step size is lowered
above it and raised again below it. This is the rule of PPO's adaptive penalty (Schulman et al.
2017, arXiv 1707.06347, section 4) with the step size in the penalty's place, as in Rudin et al.
2021 (arXiv 2109.11978, appendix).

It fails where steps are few: a first one that is too large has been made before it is measured,
and what is trained on twice is measured after it was trained on. `trust` then bounds the whole.
"""

from __future__ import annotations

LEAST = 1 / 32
"""Smallest factor on the step size."""


class Pace:
    """Follows an update of ``total`` steps, weighed by the schedule's factors on the step size."""

    def __init__(self, total: float, target: float) -> None:
        self.rate = 1.0
        """Factor on the step size, in [LEAST, 1]."""
        self._total = total
        self._target = target
        self._done = 0.0
        self._floor = 0.0

    @property
    def state(self) -> tuple[float, float, float]:
        """Factor, what was done, what server and trainer differ by: all that it goes on from."""
        return self.rate, self._done, self._floor

    @state.setter
    def state(self, state: tuple[float, float, float]) -> None:
        self.rate, self._done, self._floor = state

    def follow(self, scheduled: float, divergence: float | None) -> None:
        """Take in what was measured just before a step with the factor ``scheduled``; None where
        it has nothing to measure on: it is a part of the path, and leaves the rate as it is.

        Nothing has moved before the first one: what is measured there is what server and trainer
        differ by, and no divergence. What was not measured then counts as divergence.
        """
        if divergence is not None:
            if not self._done:
                self._floor = divergence
            else:
                allowed = self._target * self._done / self._total
                self.rate = adjust(self.rate, divergence - self._floor, allowed)
        self._done += scheduled


def adjust(rate: float, divergence: float, allowed: float) -> float:
    """The factor after a ``divergence`` where so much was allowed: a third lower above 1.5 times
    that, raised by half below it divided by 1.5."""
    if divergence > 1.5 * allowed:
        rate /= 1.5
    elif divergence < allowed / 1.5:
        rate *= 1.5
    return min(max(rate, LEAST), 1.0)
