"""What answers earned, with silence heard as seldom as what is shown.

Of a shown answer it is known what it earned where somebody reacted; of silence it always is. Means
over what is known would have silence in them too often, and the less users react, the nearer would
a checkpoint that keeps more to itself come to the worth of silence, whatever it withholds. So of
the silences as large a share counts as of the shown answers are reacted to, each by chance.
"""

from __future__ import annotations

from collections.abc import Sequence

from liveweights.learn.rewards import Reward, RewardMap, reward
from liveweights.record.answers import JudgedAnswer
from liveweights.record.split import place_of

SILENCE = "silence"


def judge_answers(answers: Sequence[JudgedAnswer], rewards: RewardMap) -> list[Reward | None]:
    """What each earned; None where that is not known, where it failed or was broken off, and of a
    silence that does not count. Which ones count depends on their ids alone, and on how many."""
    worth = [
        None
        if one.failed or one.cancelled
        else reward(one.output, one.feedback, rewards, completed=one.completed_at)
        for one in answers
    ]
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
