"""The running expectation of reward that an advantage is measured from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from liveweights.record.generation import Generation


def segment(generation: Generation) -> str:
    """Answers whose rewards are comparable: same alias, surface and language."""
    return "/".join((generation.alias, generation.surface, generation.language))


@dataclass(frozen=True, slots=True)
class Baseline:
    """Exponentially forgetting sums per segment: total reward and the weight behind it."""

    weight: Mapping[str, float]
    total: Mapping[str, float]

    @classmethod
    def empty(cls) -> Baseline:
        return cls({}, {})

    def updated(self, rewards: Iterable[tuple[str, float]], *, keep: float) -> Baseline:
        """The past, multiplied by ``keep`` in [0, 1], plus one unit of weight for each
        (segment, reward)."""
        weight = {name: value * keep for name, value in self.weight.items()}
        total = {name: value * keep for name, value in self.total.items()}
        for name, value in rewards:
            weight[name] = weight.get(name, 0.0) + 1.0
            total[name] = total.get(name, 0.0) + value
        return Baseline(weight, total)

    def mean(self) -> float:
        """The global mean reward; 0.0 before any."""
        weight = sum(self.weight.values())
        return sum(self.total.values()) / weight if weight else 0.0

    def of(self, name: str, *, prior: float, without: float | None = None) -> float:
        """The segment's mean, shrunk to the global mean as if ``prior`` (> 0) further rewards
        of the global mean had been seen in it (a normal-normal posterior mean).

        ``without`` is a reward that was counted with weight 1 and is left out again: a baseline
        that does not contain the reward it is subtracted from leaves the gradient unbiased
        (Kool et al. 2019, "Buy 4 REINFORCE samples, get a baseline for free").
        """
        weight, total = self.weight.get(name, 0.0), self.total.get(name, 0.0)
        everywhere, amount = sum(self.weight.values()), sum(self.total.values())
        if without is not None:
            weight, total = weight - 1.0, total - without
            everywhere, amount = everywhere - 1.0, amount - without
        mean = amount / everywhere if everywhere > 1e-9 else 0.0
        return (total + prior * mean) / (weight + prior)
