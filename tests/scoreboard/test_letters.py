from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.scoreboard.letters import assign_letters


def are_apart(letters: list[str]) -> set[tuple[int, int]]:
    """The pairs that share no letter."""
    sets = [set(one.split() if " " in one else one) for one in letters]
    return {(i, j) for i, j in combinations(range(len(sets)), 2) if not sets[i] & sets[j]}


def test_neighbours_that_are_tied_share_a_letter() -> None:
    assert assign_letters(3, set()) == ["a", "a", "a"]
    assert assign_letters(3, {(0, 1), (0, 2), (1, 2)}) == ["a", "b", "c"]
    assert assign_letters(3, {(0, 2)}) == ["a", "ab", "b"]
    assert assign_letters(0, set()) == []


@given(st.data())
def test_two_share_a_letter_exactly_if_they_are_not_apart(data: st.DataObject) -> None:
    count = data.draw(st.integers(1, 9))
    pairs = list(combinations(range(count), 2))
    apart = data.draw(st.sets(st.sampled_from(pairs))) if pairs else set[tuple[int, int]]()
    letters = assign_letters(count, apart)
    assert are_apart(letters) == apart
    assert all(letters)
