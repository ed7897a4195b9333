"""Guesses of what an answer repeats."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.engines.lookup import LONGEST, SHORTEST, Lookup

FEW = st.lists(st.integers(0, 3), max_size=40)


def test_what_followed_before_is_guessed() -> None:
    lookup = Lookup([1, 2, 3, 4, 5, 6, 9, 1, 2])
    lookup.learn(3)
    assert lookup.guess(8) == [3, 4, 5, 6]
    assert lookup.guess(2) == [3, 4]
    lookup.push(7)
    assert lookup.guess(8) == []


def test_the_longest_run_decides_and_then_the_latest() -> None:
    lookup = Lookup([5, 1, 2, 3, 8, 1, 2, 4, 1, 2, 6, 5, 1, 2])
    assert lookup.guess(1) == [3], "what followed 5 1 2"
    assert Lookup([1, 2, 3, 8, 1, 2, 4, 9, 1, 2]).guess(1) == [4], "what followed 1 2 last"


def test_it_reaches_one_further_than_it_was_right() -> None:
    lookup = Lookup([*range(20), 0, 1])
    for right, expected in [(0, 1), (3, 4), (8, 8)]:
        lookup.learn(right)
        assert lookup.guess(8) == list(range(2, 2 + expected))


@given(FEW, FEW, st.integers(1, 8), st.integers(0, 8))
def test_a_guess_follows_a_run_that_came_before(
    prompt: list[int], more: list[int], most: int, right: int
) -> None:
    lookup = Lookup(prompt)
    for id in more:
        lookup.push(id)
    lookup.learn(right)
    ids, guess = [*prompt, *more], lookup.guess(most)
    assert len(guess) <= min(most, right + 1)
    runs = {
        width: [end for end in range(width, len(ids)) if ids[end - width : end] == ids[-width:]]
        for width in range(SHORTEST, LONGEST + 1)
    }
    came = [ends for _, ends in sorted(runs.items()) if ends]
    if not came:
        assert guess == []
    else:
        end = came[-1][-1]
        assert guess == ids[end : end + min(most, right + 1)]
