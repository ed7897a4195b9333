"""The state machine of a candidate between the gate and everyone. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from liveweights.release.audience import Crowd
from liveweights.release.settings import CanarySettings

Stage = Literal["shadow", "canary", "promoted", "rolled_back"]
Action = Literal["wait", "step", "promote", "rollback", "hold", "resume"]


class IllegalMove(ValueError):
    """The action does not fit where the candidate stands; the message says why."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """Where a candidate stands; ``step`` counts the shares of `CanarySettings.steps` from 0."""

    stage: Stage
    step: int = 0
    held: bool = False

    @property
    def ended(self) -> bool:
        return self.stage in ("promoted", "rolled_back")


@dataclass(frozen=True, slots=True)
class Move:
    """What to do, and why."""

    action: Action
    reason: str


def begin(settings: CanarySettings, step: int = 0) -> Rollout:
    """The first state of a candidate that passed the gate; without a shadow, in that ``step``."""
    return Rollout("shadow") if settings.shadow > 0 else Rollout("canary", step)


def first_step(crowd: Crowd, settings: CanarySettings) -> int:
    """Where a canary among few begins: with the first share of the answers that brings
    ``step_rewards`` within the longest time of a step, if all of them were judged; else with the
    last one."""
    longest = settings.max_seconds / len(settings.steps)
    for step, share in enumerate(settings.steps):
        if share * crowd.answers_per_second * longest >= settings.step_rewards:
            return step
    return len(settings.steps) - 1


def shares(rollout: Rollout, settings: CanarySettings) -> tuple[float, float]:
    """The share of sessions that the candidate answers, and of requests in its shadow."""
    match rollout.stage:
        case "shadow":
            return 0.0, settings.shadow
        case "canary":
            return settings.steps[min(rollout.step, len(settings.steps) - 1)], 0.0
        case "promoted":
            return 1.0, 0.0
        case "rolled_back":
            return 0.0, 0.0


def locate(share: float, shadow: float, held: bool, settings: CanarySettings) -> Rollout:
    """The state of a running canary, from what its alias says.

    A share that is none of the steps (the settings have changed) counts as the highest step that
    does not exceed it.
    """
    if share <= 0 and shadow > 0:
        return Rollout("shadow", 0, held)
    passed = sum(step <= share + 1e-6 for step in settings.steps)
    return Rollout("canary", max(0, passed - 1), held)


def apply(rollout: Rollout, action: Action, settings: CanarySettings) -> Rollout:
    """The state after an action, automatic or by hand. Raises IllegalMove."""
    if rollout.ended:
        raise IllegalMove(f"the candidate was {rollout.stage}: nothing can follow")
    match action:
        case "wait":
            return rollout
        case "hold":
            return replace(rollout, held=True)
        case "resume":
            return replace(rollout, held=False)
        case "promote":
            return Rollout("promoted", rollout.step)
        case "rollback":
            return Rollout("rolled_back", rollout.step)
        case "step":
            if rollout.stage == "shadow":
                return replace(rollout, stage="canary", step=0)
            if rollout.step >= len(settings.steps) - 1:
                raise IllegalMove(
                    f"{settings.steps[-1]:g} is the last step; what follows is to promote it"
                )
            return replace(rollout, step=rollout.step + 1)
