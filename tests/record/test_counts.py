"""An answer takes so much feedback, whatever batches it comes in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.record.counts import FeedbackCounts

from .rows import make_feedback

said = st.lists(st.tuples(st.sampled_from("gh"), st.integers(0, 12)), max_size=30)


@given(st.lists(said, max_size=5), st.integers(1, 6))
def test_as_if_one_by_one(batches: list[list[tuple[str, int]]], most: int) -> None:
    counts = FeedbackCounts(most)
    stored: set[tuple[str, int]] = set()
    for batch in batches:
        rows = [make_feedback(f"{g}{n}", g) for g, n in batch]
        surplus = counts.surplus(rows)
        before, repeated = set(stored), set[str]()
        for position, (g, n) in enumerate(batch):
            if (g, n) in before:
                repeated.add(g)  # takes a place, as it is not known to be one
            if (g, n) in stored:
                continue
            full = sum(other == g for other, _ in stored) >= most
            assert (position in surplus) == full or (g in repeated and not full)
            if position not in surplus:
                stored.add((g, n))
                counts.add(rows[position])
    assert all(sum(other == g for other, _ in stored) <= most for g in "gh")


def test_the_memory_is_bounded() -> None:
    counts = FeedbackCounts(2, kept=3)
    for g in "abcdefg":
        for n in range(2):
            counts.add(make_feedback(f"{g}{n}", g))
    assert len(counts._counts) <= 6
    assert counts.surplus([make_feedback("x", "g"), make_feedback("y", "new")]) == {0}
