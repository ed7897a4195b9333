from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.console.home import SHOWN, sum_up
from liveweights.insight.questions import AcceptRate

START = datetime(2026, 1, 1, tzinfo=UTC)
COUNTS = st.integers(0, 50)


def hour(at: int, key: str, accepted: int, rejected: int) -> AcceptRate:
    clicked = accepted + rejected
    rate = accepted / clicked if clicked else None
    return AcceptRate(START + timedelta(hours=at), key, clicked, accepted, rejected, rate, None)


@given(st.lists(st.tuples(st.integers(0, 20).map(str), COUNTS, COUNTS), max_size=40))
def test_hours_add_up(things: list[tuple[str, int, int]]) -> None:
    rates = sum_up([hour(at, *one) for at, one in enumerate(things)])
    assert len(rates) == min(SHOWN, len({key for key, _, _ in things}))
    for rate in rates:
        accepted = sum(a for key, a, _ in things if key == rate.checkpoint)
        rejected = sum(r for key, _, r in things if key == rate.checkpoint)
        assert (rate.accepted, rate.rejected) == (accepted, rejected)
        assert 0 <= rate.low <= (0.5 if rate.rate is None else rate.rate) <= rate.high <= 1


def test_what_answered_last_comes_first() -> None:
    rates = sum_up([hour(0, "old", 1, 1), hour(1, "new", 9, 1), hour(1, "old", 1, 1)])
    assert [rate.checkpoint for rate in rates] == ["old", "new"]
    assert rates[1].rate == 0.9
    # Wilson's interval of 9 of 10, as tables give it.
    assert (rates[1].low, rates[1].high) == (
        pytest.approx(0.596, abs=1e-3),
        pytest.approx(0.982, abs=1e-3),
    )
