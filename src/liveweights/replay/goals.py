"""What a headline has to show, and whether it does. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liveweights.gate.settings import GateSettings
from liveweights.learn.settings import TOLERANCE, LearnSettings

PUBLISHED = {"accept_rate": 0.28, "shown": -0.21}
"""Cursor, "Improving Cursor Tab with online RL" (cursor.com/blog/tab-rl)."""
LEAST_ACCEPTED = -0.10
"""Relative change of what is accepted."""
LEAST_GAIN = 0.01
LEAST_RIGHT = -0.05
"""Changes of the share of right answers to what users ask for, and to what they do not."""


@dataclass(frozen=True, slots=True)
class Goal:
    """``figure`` has to be at least, or at most, ``bound``. None where nobody knows it: not met."""

    name: str
    figure: float | None
    bound: float
    at_least: bool

    @property
    def met(self) -> bool:
        if self.figure is None:
            return False
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound

    def as_dict(self) -> dict[str, Any]:
        sign = ">=" if self.at_least else "<="
        return {
            "goal": f"{self.name} {sign} {self.bound:g}",
            "figure": self.figure,
            "met": self.met,
        }


def completion_goals(
    changes: Mapping[str, Any],
    cycles: Sequence[Mapping[str, Any]],
    learn: LearnSettings,
    gate: GateSettings,
) -> list[Goal]:
    """More of what is shown is taken, less is shown, and about as much is taken; each cycle within
    its bounds. ``changes`` are those of `relative.Changes.as_dict`, ``cycles`` say what they
    ``taught``, their ``divergence`` and what they ``withheld``."""
    return [
        Goal(
            "accept rate, lower end", changes["accept_rate"]["low"], PUBLISHED["accept_rate"], True
        ),
        Goal("shown", changes["shown"]["mean"], PUBLISHED["shown"], False),
        Goal("accepted, lower end", changes["accepted"]["low"], LEAST_ACCEPTED, True),
        Goal("divergence, largest", largest(cycles, "divergence"), most_divergence(learn), False),
        Goal("withheld, most", largest(cycles, "withheld"), gate.max_withheld, False),
    ]


def chat_goals(
    asked: Mapping[str, Any],
    held_out: Mapping[str, Any],
    cycles: Sequence[Mapping[str, Any]],
    learn: LearnSettings,
) -> list[Goal]:
    """More answers are right to what users ask for, and hardly fewer to what they do not.
    ``asked`` and ``held_out`` are those of `chat.Comparison.as_dict`."""
    return [
        Goal("right, families asked for, lower end", asked["right"]["low"], LEAST_GAIN, True),
        Goal("right, held-out families, lower end", held_out["right"]["low"], LEAST_RIGHT, True),
        Goal("divergence, largest", largest(cycles, "divergence"), most_divergence(learn), False),
    ]


def most_divergence(learn: LearnSettings) -> float:
    """In nats per token: the target and its tolerance."""
    return (1 + TOLERANCE) * learn.kl_target


def largest(cycles: Sequence[Mapping[str, Any]], name: str) -> float | None:
    """Over all cycles that learnt something; None where one of them does not say."""
    values = [cycle[name] for cycle in cycles if cycle["taught"]]
    if not values or None in values:
        return None
    return max(values)
