from __future__ import annotations

from tests.record.rows import make_feedback

from liveweights.learn.truth import truth


def test_a_correction_says_more_than_an_accept_and_the_last_one_counts() -> None:
    accepted = make_feedback("a", "g")
    first = make_feedback("b", "g", signal="correction", text="x = 2")
    last = make_feedback("c", "g", signal="correction", text="x = 3")
    assert truth("x = 1", [accepted]) == "x = 1"
    assert truth("x = 1", [first, accepted, last]) == "x = 3"
    assert truth("x = 1", [make_feedback("d", "g", signal="rejected")]) is None
    assert truth("x = 1", []) is None
