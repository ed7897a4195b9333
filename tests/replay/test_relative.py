from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.replay.developer import Outcome
from liveweights.replay.relative import kept, relative_changes, withheld

outcomes = st.lists(st.sampled_from(["accepted", "rejected", "silence"]), min_size=1, max_size=40)


def test_figures_by_hand() -> None:
    base: list[Outcome | None] = ["accepted", "rejected", "rejected", "rejected", None]
    last: list[Outcome | None] = ["accepted", "silence", "rejected", "silence", "accepted"]
    found = relative_changes(base, last, list("aabbc"))
    assert found.accept_rate.mean == pytest.approx(1.0)  # from 1 of 4 to 1 of 2
    assert found.shown.mean == pytest.approx(-0.5)
    assert found.accepted.mean == 0.0


@given(outcomes)
def test_a_checkpoint_does_not_differ_from_itself(given_outcomes: list[Outcome]) -> None:
    clusters = [str(place % 4) for place in range(len(given_outcomes))]
    found = relative_changes(given_outcomes, given_outcomes, clusters)
    for estimate in (found.accept_rate, found.shown, found.accepted):
        assert math.isnan(estimate.mean) or estimate.low == estimate.mean == estimate.high == 0.0


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Half of what would be rejected is silenced: shown falls by 0.4 of 0.8 / 1."""
    draw, hits = random.Random(0), 0
    for trial in range(40):
        base: list[Outcome] = []
        last: list[Outcome] = []
        for _ in range(300):
            good = draw.random() < 0.2
            base.append("accepted" if good else "rejected")
            quiet = not good and draw.random() < 0.5
            last.append("silence" if quiet else base[-1])
        found = relative_changes(base, last, [str(n // 6) for n in range(300)], seed=trial)
        hits += found.shown.low <= -0.4 <= found.shown.high
    assert hits >= 33


def test_what_a_candidate_withholds_and_keeps() -> None:
    old: list[Outcome | None] = ["accepted", "accepted", "rejected", "silence", None, "rejected"]
    new: list[Outcome | None] = ["accepted", "silence", "silence", "accepted", "silence", None]
    assert withheld(old, new).mean == pytest.approx(2 / 3)
    assert kept(old, new).mean == pytest.approx(1 / 2)
    assert math.isnan(withheld(["silence"], ["accepted"]).mean)
    with pytest.raises(ValueError, match="shorter"):
        kept(old, new[1:])


@given(outcomes)
def test_an_incumbent_withholds_nothing_of_its_own(given_outcomes: list[Outcome]) -> None:
    if set(given_outcomes) - {"silence"}:
        assert withheld(given_outcomes, given_outcomes).mean == 0.0
    if "accepted" in given_outcomes:
        assert kept(given_outcomes, given_outcomes).mean == 1.0
