"""Bounds on tenants, keys and users hold together, wherever they can."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.learn.settings import LearnSettings
from liveweights.learn.shares import bound
from liveweights.learn.voters import Voter

SETTINGS = LearnSettings()


@dataclass(frozen=True)
class Vote:
    voter: Voter
    weight: float = 1.0


def vote(tenant: str, user: int, weight: float = 1.0, key: int = 0) -> Vote:
    name = f"{tenant}/{user}"
    return Vote(Voter(tenant, f"{tenant}/k{key}", name, name), weight)


def hold(rows: list[Vote], holder: Callable[[Voter], str]) -> Counter[str]:
    """The share of all weight that each holds."""
    held: Counter[str] = Counter()
    for row in rows:
        held[holder(row.voter)] += abs(row.weight)  # pyright: ignore[reportArgumentType]
    total = held.total()
    return Counter({name: weight / total for name, weight in held.items()})


def most(rows: list[Vote], share: float, holder: Callable[[Voter], str]) -> float:
    return max(share, 2 / len({holder(row.voter) for row in rows if row.weight}))


HOLDERS: dict[str, tuple[float, Callable[[Voter], str]]] = {
    "tenant": (SETTINGS.tenant_share, lambda voter: voter.tenant),
    "key": (SETTINGS.key_share, lambda voter: voter.key),
    "user": (SETTINGS.user_share, lambda voter: voter.user),
}


@given(
    st.lists(
        st.tuples(st.integers(11, 40), st.floats(0.01, 100), st.integers(1, 3)),
        min_size=2,
        max_size=8,
    ),
    st.floats(1, 1e4),
)
def test_where_there_are_users_enough_every_bound_holds(
    tenants: list[tuple[int, float, int]], flood: float
) -> None:
    """Of several tenants with users enough to hold their shares, whatever their weights."""
    rows = [
        vote(chr(65 + place), user, weight * (-1) ** user, user % keys)
        for place, (users, weight, keys) in enumerate(tenants)
        for user in range(users)
    ]
    rows.append(vote("A", 0, flood))
    bounded = bound(rows, SETTINGS)
    for share, holder in HOLDERS.values():
        assert max(hold(bounded, holder).values()) <= most(rows, share, holder) + 1e-6
    for before, after in zip(rows, bounded, strict=True):
        assert 0 < after.weight / before.weight <= 1 + 1e-9


@given(st.lists(st.tuples(st.integers(1, 40), st.floats(0.01, 100)), min_size=1, max_size=8))
def test_a_tenants_bound_holds_also_where_users_are_few(tenants: list[tuple[int, float]]) -> None:
    rows = [
        vote(chr(65 + place), user, weight)
        for place, (users, weight) in enumerate(tenants)
        for user in range(users)
    ]
    bounded = bound(rows, SETTINGS)
    share, holder = HOLDERS["tenant"]
    assert max(hold(bounded, holder).values()) <= most(rows, share, holder) + 1e-6
    assert sum(row.weight for row in bounded) > 1e-9


@pytest.mark.parametrize("others", [3, 4, 5, 9])
def test_one_tenant_with_many_users_beside_some_with_one_has_half(others: int) -> None:
    rows = [vote("A", user) for user in range(100)]
    rows += [vote(chr(66 + place), 0, 25.0) for place in range(others)]
    bounded = bound(rows, SETTINGS)
    assert hold(bounded, lambda voter: voter.tenant)["A"] <= 0.5 + 1e-6
    # Three, four of a tenth each cannot hold the other half.
    users = hold(bounded, lambda voter: voter.user)
    assert max(users.values()) <= max(0.1, 0.5 / others) + 1e-6


def test_who_is_within_all_bounds_keeps_everything() -> None:
    rows = [vote(tenant, user) for tenant in "ABC" for user in range(20)]
    assert bound(rows, SETTINGS) == rows
    assert bound([], SETTINGS) == []
