"""What reactions are worth to the questions: to each model what it learns and is judged by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from liveweights.learn.rewards import RewardMap


@dataclass(frozen=True, slots=True)
class Worths:
    """``models`` have their own, by public name; ``others`` are hosted, or there no more."""

    others: RewardMap
    models: Mapping[str, RewardMap] = field(default_factory=dict[str, RewardMap])

    def to_parameters(self) -> dict[str, float | list[float] | list[str]]:
        """As the questions take them: lists of one length, and a number of each for the others."""
        maps = list(self.models.values())
        return {
            "worth_of": list(self.models),
            "worths_accepted": [one.accepted for one in maps],
            "worths_rejected": [one.rejected for one in maps],
            "worths_silence": [one.silence for one in maps],
            "worth_accepted": self.others.accepted,
            "worth_rejected": self.others.rejected,
            "worth_silence": self.others.silence,
        }
