"""What a reaction is worth: feedback in, one reward in [-1, 1] out."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from liveweights.record.feedback import Feedback


class RewardMap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configured worth of each signal, in [-1, 1]."""

    accepted: Annotated[float, msgspec.Meta(description="The user took the answer.")] = 0.75
    rejected: Annotated[float, msgspec.Meta(description="The user dismissed the answer.")] = -0.25
    silence: Annotated[
        float, msgspec.Meta(description="The model said nothing. The zero of the scale.")
    ] = 0.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not -1.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"rewards.{name} must lie in [-1, 1]")


@dataclass(frozen=True, slots=True)
class Reward:
    """``value`` in [-1, 1] and the signal that decided it (``silence`` for an empty answer)."""

    value: float
    signal: str


# A deliberate number outweighs a vote, a vote outweighs what survived, and that the first click.
_PRECEDENCE = ("reward", "thumbs", "edited", "accepted", "rejected")


def survival(output: str, surviving: str) -> float:
    """Share of the answer's characters that survived the user's edits, in [0, 1].

    Matching blocks of Ratcliff and Obershelp, as in ``difflib``; 0.0 for an empty answer.
    """
    if not output:
        return 0.0
    matcher = difflib.SequenceMatcher(None, output, surviving, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / len(output)


def value_of(feedback: Feedback, output: str, rewards: RewardMap) -> float:
    """The worth of one signal. Raises ValueError for one that carries none."""
    match feedback.signal:
        case "reward" | "thumbs":
            return max(-1.0, min(1.0, feedback.value or 0.0))
        case "edited":
            kept = survival(output, feedback.text or "")
            return kept * rewards.accepted + (1.0 - kept) * rewards.rejected
        case "accepted":
            return rewards.accepted
        case "rejected":
            return rewards.rejected
        case _:
            raise ValueError(f"signal {feedback.signal!r} carries no reward")


def reward(output: str, feedback: Sequence[Feedback], rewards: RewardMap) -> Reward | None:
    """The reward of one answer, or None if nobody reacted to it.

    The signal of the highest precedence decides (``reward``, ``thumbs``, ``edited``, then the
    click), among equals the one that arrived last; ``accepted`` and ``rejected`` are one signal
    in two values. A lone ``correction`` says that the answer was not what was wanted: it counts
    as ``rejected``. ``shown`` and ``comment`` carry no reward. An empty answer is silence.
    """

    def rank(signal: str) -> int:
        click = signal if signal != "rejected" else "accepted"
        return _PRECEDENCE.index(click)

    telling = [item for item in feedback if item.signal in _PRECEDENCE]
    if telling:
        best = min(rank(item.signal) for item in telling)
        deciding = [item for item in telling if rank(item.signal) == best][-1]
        return Reward(value_of(deciding, output, rewards), deciding.signal)
    if not output:
        return Reward(rewards.silence, "silence")
    if any(item.signal == "correction" for item in feedback):
        return Reward(rewards.rejected, "correction")
    return None
