"""What the user would have wanted, where that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from liveweights.learn.rewards import RewardMap, reward
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation

_TOLD = frozenset({"accepted", "rejected", "thumbs", "reward", "correction"})
"""Signals that say whether an answer as such was wanted."""


@dataclass(frozen=True, slots=True)
class Wish:
    """``truth`` is the text that the user wanted: what they wrote instead, else the answer, if they
    took it. ``taken`` says whether they did. None: nobody knows."""

    truth: str | None
    taken: bool | None


def last_correction(feedback: Sequence[Feedback]) -> str | None:
    """What the user wrote instead, as they last said it."""
    corrections = [f.text for f in feedback if f.signal == "correction" and f.text]
    return corrections[-1] if corrections else None


def read_wish(generation: Generation, feedback: Sequence[Feedback], rewards: RewardMap) -> Wish:
    """What ``feedback`` says that the user of an answer wanted, by the reward that is learnt."""
    written = last_correction(feedback)
    taken = _read_taken(generation, feedback, rewards)
    return Wish(generation.output if written is None and taken else written, taken)


def _read_taken(
    generation: Generation, feedback: Sequence[Feedback], rewards: RewardMap
) -> bool | None:
    """Where a click, thumb, number or correction is about this answer, by all that was said of it:
    it was taken if the reward is nearer to that of ``accepted`` than to that of silence, and
    refused if it is no more than silence is worth. What is accepted and soon deleted was refused.
    """
    clicks = [f.signal for f in feedback if f.signal in ("accepted", "rejected")]
    if not any(f.signal in _TOLD and f.episode is None for f in feedback):
        return None
    worth = reward(generation.output, feedback, rewards, completed=generation.completed_at)
    if worth is None or (clicks[-1:] == ["rejected"] and worth.value > rewards.silence):
        return None
    if worth.value >= (rewards.accepted + rewards.silence) / 2:
        return True
    return False if worth.value <= rewards.silence else None
