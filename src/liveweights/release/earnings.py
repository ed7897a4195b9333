"""What answers earned, with silence heard as seldom as what is shown.

Of a shown answer it is known what it earned where somebody reacted; of silence it always is. Means
over what is known would have silence in them too often, and the less users react, the nearer would
a checkpoint that keeps more to itself come to the worth of silence, whatever it withholds. So of
the silences as large a share counts as of the shown answers are reacted to, each by chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from liveweights.learn.rewards import RewardMap, reward, reward_of
from liveweights.record.answers import JudgedAnswer
from liveweights.record.split import place_of

SILENCE = "silence"


@dataclass(frozen=True, slots=True)
class Earned:
    """``value`` in [-1, 1] and the signal that counted most. It counts ``at`` the time when the
    answer was asked for; one that only the user's next message says, when that came."""

    value: float
    signal: str
    at: datetime


def judge_answers(answers: Sequence[JudgedAnswer], rewards: RewardMap) -> list[Earned | None]:
    """What each earned; None where that is not known, where it failed or was broken off, and of a
    silence that does not count. Which ones count depends on their ids alone, and on how many.

    What a user said next counts where nobody reacted otherwise, as learning has it.
    """
    worth = [_judge(one, rewards) for one in answers]
    shown = [
        earned is not None
        for one, earned in zip(answers, worth, strict=True)
        if one.output and not (one.failed or one.cancelled)
    ]
    share = sum(shown) / len(shown) if shown else 1.0
    return [
        None if earned and earned.signal == SILENCE and place_of(one.id) >= share else earned
        for one, earned in zip(answers, worth, strict=True)
    ]


def _judge(one: JudgedAnswer, rewards: RewardMap) -> Earned | None:
    if one.failed or one.cancelled:
        return None
    said = reward(one.output, one.feedback, rewards, completed=one.completed_at)
    if said is not None:
        return Earned(said.value, said.signal, one.created_at)
    if one.follow_up is None or any(f.signal != "shown" for f in one.feedback):
        return None
    told = reward_of(one.follow_up.mood, rewards)
    return None if told is None else Earned(told.value, told.signal, one.follow_up.at)
