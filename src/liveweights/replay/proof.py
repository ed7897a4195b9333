"""Whether a checkpoint is better than the base at positions that nobody trained on. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from liveweights.replay.comparison import CONFIDENCE, Comparison
from liveweights.replay.developer import Outcome, Position
from liveweights.replay.measure import Measurement, compare_measurements
from liveweights.replay.settings import Rewards

Change = tuple[Outcome, Outcome]
"""What became of the base's suggestion, and of the checkpoint's, at one position."""

_TELLING: tuple[Change, ...] = (
    ("rejected", "accepted"),
    ("rejected", "silence"),
    ("accepted", "silence"),
    ("accepted", "rejected"),
    ("accepted", "accepted"),
    ("silence", "accepted"),
    ("silence", "rejected"),
    ("rejected", "rejected"),
)
"""What a person wants to see, one of each in turn: gains and losses before what stayed."""


@dataclass(frozen=True, slots=True)
class Place:
    """One held-out position with both texts."""

    position: Position
    before: str
    after: str
    change: Change


@dataclass(frozen=True, slots=True)
class Proof:
    """A checkpoint beside the base: ``look`` counts the checkpoints that were compared with it so
    far, this one included, from 1."""

    comparison: Comparison
    look: int
    is_clear: bool
    """Whether the mean reward is higher, with an interval that allows for all looks clear of 0."""
    changes: Counter[Change]
    places: tuple[Place, ...]

    @property
    def checkpoint(self) -> str:
        return self.comparison.last.checkpoint


def confidence_at(look: int) -> float:
    """Confidence of the interval at the given look, so that all looks together err as seldom as
    one at 95% does: their shares 1 / (k (k + 1)) of the error add up to 1 (alpha spending, Lan &
    DeMets 1983, "Discrete sequential boundaries for clinical trials")."""
    return 1.0 - (1.0 - CONFIDENCE) / (look * (look + 1))


def prove(base: Measurement, last: Measurement, rewards: Rewards, look: int) -> Proof:
    """Compare both at the same positions. Raises ValueError where they are not the same."""
    strict = compare_measurements(base, last, rewards, confidence=confidence_at(look))
    places = tuple(_paired(base, last))
    return Proof(
        comparison=compare_measurements(base, last, rewards),
        look=look,
        is_clear=strict.reward_diff.low > 0,
        changes=Counter(place.change for place in places),
        places=places,
    )


def telling(places: Sequence[Place], count: int) -> list[Place]:
    """At most ``count`` of them, of every kind of change in turn, from as many files as there
    are. Where both kept silent there is nothing to see."""
    kinds: dict[Change, list[Place]] = {change: [] for change in _TELLING}
    for place in places:
        if place.change in kinds:
            kinds[place.change].append(place)
    chosen: list[Place] = []
    files = Counter[str]()
    while len(chosen) < count and any(kinds.values()):
        for members in kinds.values():
            if members and len(chosen) < count:
                pick = min(members, key=lambda place: files[place.position.file])
                members.remove(pick)
                files[pick.position.file] += 1
                chosen.append(pick)
    return chosen


def _paired(base: Measurement, last: Measurement) -> Iterator[Place]:
    rows = zip(base.positions, base.texts, base.outcomes, last.texts, last.outcomes, strict=True)
    for position, before, old, after, new in rows:
        if before is not None and old is not None and after is not None and new is not None:
            yield Place(position, before, after, (old, new))
