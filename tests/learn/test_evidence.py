from __future__ import annotations

from liveweights.learn.evidence import most_moved
from liveweights.learn.job import HeldBack


def held(id: str, before: float, after: float, truth: tuple[float, float] | None) -> HeldBack:
    return HeldBack(
        generation=id,
        session=id,
        reward=0.0,
        candidate_answer=[after, after],
        incumbent_answer=[before, before],
        behaviour=[before, before],
        incumbent_truth=truth[0] if truth else None,
        candidate_truth=truth[1] if truth else None,
    )


def test_what_moved_most_comes_first_in_either_direction() -> None:
    rows = [
        held("a", -1.0, -1.1, None),
        held("b", -1.0, -3.0, (-4.0, -1.0)),
        held("c", -1, -1, None),
    ]
    found = most_moved(rows, count=3)
    assert [(m.generation, m.text, m.before, m.after) for m in found] == [
        ("b", "truth", -4.0, -1.0),
        ("b", "answer", -1.0, -3.0),
        ("a", "answer", -1.0, -1.1),
    ]
