"""How much of what is learnt a tenant, a key and a user may hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, cast

from liveweights.learn.guards import ROUNDS, Weighted, cap
from liveweights.learn.settings import LearnSettings
from liveweights.learn.voters import Voter

_NOTHING = 1e-9
"""Part of all weight; bounds that leave no more than that cannot all hold."""


class _Held(Weighted, Protocol):
    """A dataclass with a weight and whose it is."""

    @property
    def voter(self) -> Voter: ...


Held = TypeVar("Held", bound=_Held)


@dataclass(frozen=True, slots=True)
class _Holding:
    """The influence of all that a voter holds."""

    voter: Voter
    weight: float


def _weight_of(row: Weighted) -> float:
    return abs(row.weight)


def bound(
    rows: Sequence[Held],
    settings: LearnSettings,
    influence: Callable[[Held], float] = _weight_of,
) -> list[Held]:
    """Nobody's influence is more than its share of what is left: a user's, a key's, a tenant's.
    That of a row is in proportion to its weight, which is what is lowered.

    To bound one raises the others' shares, so all bounds are applied until they hold together.
    They cannot where the users beside a tenant are so few that they may not hold the rest: then
    each is applied once, the tenant's last, which holds.
    """
    held: defaultdict[Voter, float] = defaultdict(float)
    for row in rows:
        held[row.voter] += influence(row)
    start = [_Holding(voter, weight) for voter, weight in held.items() if weight]
    left = {one.voter: one.weight for one in _bound(start, settings)}
    return [
        replace(cast(Any, row), weight=row.weight * left[row.voter] / held[row.voter])
        if row.weight and left[row.voter] < held[row.voter]
        else row
        for row in rows
    ]


def _bound(start: Sequence[_Holding], settings: LearnSettings) -> Sequence[_Holding]:
    newcomers = {one.voter.user for one in start if not one.voter.known}

    def share(user: str) -> float:
        return settings.new_share if user in newcomers else settings.user_share

    def once(held: Sequence[_Holding]) -> Sequence[_Holding]:
        shares: tuple[tuple[float | Callable[[str], float], Callable[[_Holding], str]], ...] = (
            (share, lambda one: one.voter.user),
            (settings.key_share, lambda one: one.voter.key),
            (settings.tenant_share, lambda one: one.voter.tenant),
        )
        for most, holder in shares:
            held = cap(held, most, holder)
        return held

    first = held = once(start)
    for _ in range(ROUNDS):
        before, held = held, once(held)
        if _total(held) >= (1 - 1e-9) * _total(before):
            return held
        if _total(held) < _NOTHING * _total(start):
            break
    return first


def _total(held: Sequence[_Holding]) -> float:
    return sum(one.weight for one in held)
