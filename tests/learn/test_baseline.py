from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.learn.baseline import Baseline

rewards = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.floats(-1, 1)), min_size=1, max_size=30
)


def test_it_forgets() -> None:
    first = Baseline.empty().updated([("a", 1.0)], keep=0.5)
    second = first.updated([("a", -1.0)], keep=0.5)
    assert second.of("a", prior=1e-9) == pytest.approx((0.5 - 1.0) / 1.5)


@given(rewards, st.floats(0.1, 100))
def test_a_segment_lies_between_its_own_mean_and_everybodys(
    seen: list[tuple[str, float]], prior: float
) -> None:
    baseline = Baseline.empty().updated(seen, keep=1.0)
    own = [value for name, value in seen if name == "a"]
    mean = baseline.mean()
    if not own:
        assert baseline.of("a", prior=prior) == pytest.approx(mean)
        return
    low, high = sorted((sum(own) / len(own), mean))
    assert low - 1e-9 <= baseline.of("a", prior=prior) <= high + 1e-9


@given(rewards)
def test_leaving_a_reward_out_is_never_having_seen_it(seen: list[tuple[str, float]]) -> None:
    name, value = seen[-1]
    whole = Baseline.empty().updated(seen, keep=1.0)
    rest = Baseline.empty().updated(seen[:-1], keep=1.0)
    found = whole.of(name, prior=20.0, without=value)
    assert found == pytest.approx(rest.of(name, prior=20.0), abs=1e-6)
