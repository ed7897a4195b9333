"""What the reactions to an answer are worth: feedback in, one reward in [-1, 1] out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights import bounds
from liveweights.learn.followups import read_mood
from liveweights.record.feedback import Feedback, Mood
from liveweights.record.survival import survival

Weight = Annotated[float, Meta(ge=0, le=bounds.WEIGHT)]


class RewardMap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The configured worth of each signal, in [-1, 1], and how much it counts beside others."""

    accepted: Annotated[float, Meta(ge=-1, le=1, description="The user took the answer.")] = 0.75
    rejected: Annotated[
        float, Meta(ge=-1, le=1, description="The user dismissed the answer.")
    ] = -0.25
    silence: Annotated[
        float, Meta(ge=-1, le=1, description="The model said nothing. The zero of the scale.")
    ] = 0.0
    satisfied: Annotated[
        float,
        Meta(
            ge=-1, le=1, description="A comment or the next message in a chat praises the answer."
        ),
    ] = 0.25
    dissatisfied: Annotated[
        float,
        Meta(ge=-1, le=1, description="A comment or the next message complains of the answer."),
    ] = -0.5
    settled_after: Annotated[
        float,
        Meta(
            ge=0,
            le=bounds.SECONDS,
            description="Seconds from the complete answer, or from when it was `shown`, after which"
            " a surviving text counts as settled.",
        ),
    ] = 30.0
    click_weight: Annotated[Weight, Meta(description="Of 'accepted' and 'rejected'.")] = 1.0
    early_weight: Annotated[
        Weight, Meta(description="Of what survived ('edited') before it has settled.")
    ] = 2.0
    settled_weight: Annotated[
        Weight, Meta(description="Of what survived later, such as at the session's end.")
    ] = 8.0
    words_weight: Annotated[
        Weight, Meta(description="Of a comment or follow-up that is not neutral.")
    ] = 4.0
    thumbs_weight: Annotated[Weight, Meta(description="Of a thumb up or down.")] = 16.0
    classifier: Annotated[
        str,
        Meta(
            description=(
                "Reads comments and follow-ups: package.module:function from text to"
                " 'dissatisfied', 'satisfied' or 'neutral'."
            )
        ),
    ] = "liveweights.learn.followups:lexical"

    def __post_init__(self) -> None:
        for name in ("accepted", "rejected", "silence", "satisfied", "dissatisfied"):
            if not -1.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"rewards.{name} must lie in [-1, 1]")


@dataclass(frozen=True, slots=True)
class Reward:
    """``value`` in [-1, 1] and the signal that counted most (``silence`` for an empty answer)."""

    value: float
    signal: str


@dataclass(frozen=True, slots=True)
class _Reaction:
    signal: str
    value: float
    weight: float


def reward(
    output: str,
    feedback: Sequence[Feedback],
    rewards: RewardMap,
    *,
    completed: datetime | None = None,
) -> Reward | None:
    """The reward of one answer, or None if nobody reacted to it.

    Of each kind of signal the last one counts: of the clicks ``accepted`` and ``rejected``, of
    ``edited`` (what survived so far), of ``thumbs``, and of ``comment`` (the user's words). A
    ``reward`` is the product's own number and decides alone. Otherwise the value is the mean of
    the kinds' values, each with the weight of its kind: contradictory signals pull against one
    another, and what survives at least ``settled_after`` seconds after ``completed`` (when the
    whole answer was there; None: any survival), or after it was ``shown``, where that is told and
    later, outweighs the first click. A lone ``correction`` counts
    as ``rejected``. ``shown`` and neutral words carry no reward. An empty answer is silence,
    unless a number or a thumb says otherwise.
    """
    seen = _first_seen(feedback, completed)
    last = {_kind(item.signal): item for item in feedback}
    if (decreed := last.get("reward")) is not None:
        return Reward(max(-1.0, min(1.0, decreed.value or 0.0)), "reward")
    reactions = [
        reaction for item in last.values() for reaction in _values(item, output, rewards, seen)
    ]
    if not output and not any(item.signal == "thumbs" for item in reactions):
        return Reward(rewards.silence, "silence")
    total = sum(item.weight for item in reactions)
    if not total:
        lone = any(item.signal == "correction" for item in feedback)
        return Reward(rewards.rejected, "correction") if lone else None
    value = sum(item.weight * item.value for item in reactions) / total
    return Reward(value, max(reactions, key=lambda item: item.weight).signal)


def reward_of(mood: Mood, rewards: RewardMap) -> Reward | None:
    """What words of that mood are worth where nothing else was said; None for neutral ones, and
    where words do not count."""
    if mood == "neutral" or not rewards.words_weight:
        return None
    return Reward(getattr(rewards, mood), mood)


def _first_seen(feedback: Sequence[Feedback], completed: datetime | None) -> datetime | None:
    shown = [item.received_at for item in feedback if item.signal == "shown"]
    return max(completed, min(shown)) if completed and shown else completed


def _kind(signal: str) -> str:
    return "click" if signal in ("accepted", "rejected") else signal


def _values(
    item: Feedback, output: str, rewards: RewardMap, seen: datetime | None
) -> Iterator[_Reaction]:
    match item.signal:
        case "accepted":
            yield _Reaction("accepted", rewards.accepted, rewards.click_weight)
        case "rejected":
            yield _Reaction("rejected", rewards.rejected, rewards.click_weight)
        case "edited":
            kept = survival(output, item.text or "")
            age = None if seen is None else (item.received_at - seen).total_seconds()
            settled = age is None or age >= rewards.settled_after
            yield _Reaction(
                "edited",
                kept * rewards.accepted + (1.0 - kept) * rewards.rejected,
                rewards.settled_weight if settled else rewards.early_weight,
            )
        case "thumbs":
            value = max(-1.0, min(1.0, item.value or 0.0))
            yield _Reaction("thumbs", value, rewards.thumbs_weight)
        case "comment":
            worth = reward_of(read_mood(rewards.classifier, item.text or ""), rewards)
            if worth is not None:
                yield _Reaction(worth.signal, worth.value, rewards.words_weight)
        case _:
            return
