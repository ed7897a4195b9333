"""What an answer would have earned where it is known what the user wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from liveweights.learn.rewards import RewardMap
from liveweights.learn.voters import NOBODY, Voter


@dataclass(frozen=True, slots=True)
class Case:
    """A held-back prompt that is asked again, named by the ``generation`` that answered it.

    ``truth`` is the text that the user took or wrote, None where nobody knows, and ``rejected`` one
    that they did not want; ``taken`` says whether they took what was served, None where nobody
    knows (see `learn.truth`). Answers of one ``session`` vary together. ``may_be_silent`` says
    whether the user would rather see nothing than an answer that is not sure, and ``voter`` whose
    reaction it is.
    """

    generation: str
    session: str
    truth: str | None
    rejected: str | None = None
    taken: bool | None = None
    may_be_silent: bool = False
    voter: Voter = NOBODY


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """Reward of an answer that the user would have taken, of none, and of any other."""

    accepted: float = 0.75
    silence: float = 0.0
    rejected: float = -0.25


def values_of(rewards: RewardMap) -> Values:
    """Those of a reward map."""
    return Values(accepted=rewards.accepted, silence=rewards.silence, rejected=rewards.rejected)


def score_answers(answers: Sequence[str], truths: Sequence[str], values: Values) -> list[float]:
    """Reward of each answer against the text that was accepted or written instead.

    White space at the end does not count: a user does not see it. Where the truth is silence,
    silence is the right answer and still earns no more than silence.
    """
    return [
        values.silence
        if not answer.strip()
        else values.accepted
        if answer.rstrip() == truth.rstrip()
        else values.rejected
        for answer, truth in zip(answers, truths, strict=True)
    ]
