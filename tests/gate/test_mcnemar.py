from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.mcnemar import exact, mid_p

counts = st.integers(0, 200)


@pytest.mark.parametrize(
    ("wins", "losses", "of_exact", "of_mid_p"),
    [  # Fagerland, Lydersen & Laake 2013 (BMC Med Res Methodol 13:91), their two examples
        (1, 7, 0.070, 0.039),
        (6, 16, 0.052, 0.035),
    ],
)
def test_published_examples(wins: int, losses: int, of_exact: float, of_mid_p: float) -> None:
    assert exact(wins, losses) == pytest.approx(of_exact, abs=5e-4)
    assert mid_p(wins, losses) == pytest.approx(of_mid_p, abs=5e-4)


def test_exact_is_the_binomial_tail() -> None:
    assert exact(9, 1) == pytest.approx(2 * 11 / 1024)
    assert exact(5, 5) == 1.0
    assert exact(0, 0) == mid_p(0, 0) == 1.0


@given(counts, counts)
def test_both_are_symmetric_and_the_mid_p_is_the_smaller(wins: int, losses: int) -> None:
    assert exact(wins, losses) == exact(losses, wins)
    assert mid_p(wins, losses) == pytest.approx(mid_p(losses, wins), abs=1e-12)
    assert 0 <= mid_p(wins, losses) <= exact(wins, losses) <= 1
