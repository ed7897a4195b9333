"""What answers earned, with silence heard as seldom as what is shown.

Of a shown answer it is known what it earned where somebody reacted; of silence it always is. Means
over what is known would have silence in them too often, and the less users react, the nearer would
a checkpoint that keeps more to itself come to the worth of silence, whatever it withholds. So of
the silences as large a share counts as of the shown answers are reacted to, each by chance.
"""

from __future__ import annotations

from array import array
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


class Earnings:
    """What answers earned that are told one by one; none of them is kept."""

    def __init__(self, rewards: RewardMap) -> None:
        self._rewards = rewards
        self._worth: list[Earned | None] = []
        self._places = array("d")
        self._shown = self._reacted = 0

    def add(self, one: JudgedAnswer) -> None:
        worth = _judge(one, self._rewards)
        if one.output and not (one.failed or one.cancelled):
            self._shown += 1
            self._reacted += worth is not None
        self._worth.append(worth)
        self._places.append(place_of(one.id) if worth and worth.signal == SILENCE else -1.0)

    def conclude(self) -> list[Earned | None]:
        """What each earned; None where that is not known, where it failed or was broken off, and of
        a silence that does not count. Which ones count depends on their ids alone, and on how
        many. What a user said next counts where nobody reacted otherwise, as learning has it."""
        share = self._reacted / self._shown if self._shown else 1.0
        return [
            None if place >= share else worth
            for worth, place in zip(self._worth, self._places, strict=True)
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
