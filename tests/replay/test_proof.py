from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.replay.developer import Outcome, Position
from liveweights.replay.measure import Measurement
from liveweights.replay.proof import confidence_at, prove, telling
from liveweights.replay.settings import Rewards

OUTCOMES: list[Outcome] = ["accepted", "rejected", "silence"]
TEXTS = {"accepted": "wanted", "rejected": "something else", "silence": ""}


def measurement(name: str, outcomes: Sequence[Outcome | None], per_file: int = 2) -> Measurement:
    positions = tuple(
        Position(f"file{n // per_file}", n, 0, "next_line", f"line {n}\n", "wanted")
        for n in range(len(outcomes))
    )
    texts = tuple(None if outcome is None else TEXTS[outcome] for outcome in outcomes)
    return Measurement(name, positions, texts, tuple(outcomes))


pairs = st.lists(st.tuples(st.sampled_from(OUTCOMES), st.sampled_from(OUTCOMES)), min_size=2)


@given(st.integers(1, 200))
def test_all_looks_together_err_as_seldom_as_one(looks: int) -> None:
    spent = sum(1 - confidence_at(look) for look in range(1, looks + 1))
    assert 0 < spent <= 0.05 + 1e-12


@given(pairs, st.integers(1, 5))
def test_what_is_clear_is_clear_at_95_percent_too(
    outcomes: list[tuple[Outcome, Outcome]], look: int
) -> None:
    base, last = (measurement(n, [p[i] for p in outcomes]) for i, n in enumerate(("a", "b")))
    proof = prove(base, last, Rewards(), look)
    if proof.is_clear:
        assert proof.comparison.reward_diff.low > 0
    assert sum(proof.changes.values()) == len(proof.places) == len(outcomes)


def test_silence_where_all_was_wrong_is_a_proof_and_nothing_changed_is_none() -> None:
    base = measurement("base", ["rejected"] * 40)
    better = measurement("new", ["silence", "silence", "rejected", "silence"] * 10)
    assert prove(base, better, Rewards(), 1).is_clear
    assert not prove(base, measurement("new", ["rejected"] * 40), Rewards(), 1).is_clear


def test_a_gain_that_one_look_shows_need_not_be_enough_for_the_tenth() -> None:
    outcomes: list[Outcome] = ["silence"] + ["rejected"] * 5
    base, last = measurement("base", ["rejected"] * 36), measurement("new", outcomes * 6)
    looks = [prove(base, last, Rewards(), look).is_clear for look in (1, 100_000)]
    assert looks == [True, False]


def test_a_failed_request_is_left_out() -> None:
    base = measurement("base", ["rejected", None, "accepted", "rejected"])
    last = measurement("new", ["silence", "accepted", "accepted", None])
    proof = prove(base, last, Rewards(), 1)
    assert dict(proof.changes) == {("rejected", "silence"): 1, ("accepted", "accepted"): 1}


def test_other_positions_are_refused() -> None:
    with pytest.raises(ValueError, match="not of the same positions"):
        prove(measurement("a", ["silence"] * 4), measurement("b", ["silence"] * 6), Rewards(), 1)


@given(pairs, st.integers(0, 12))
def test_what_is_shown_is_of_every_kind_losses_too(
    outcomes: list[tuple[Outcome, Outcome]], count: int
) -> None:
    base, last = (measurement(n, [p[i] for p in outcomes]) for i, n in enumerate(("a", "b")))
    places = prove(base, last, Rewards(), 1).places
    seen = [place for place in places if place.change != ("silence", "silence")]
    chosen = telling(places, count)
    assert len(chosen) == min(count, len(seen)) == len({id(place) for place in chosen})
    kinds = {place.change for place in seen}
    assert len({place.change for place in chosen}) == min(count, len(kinds))
