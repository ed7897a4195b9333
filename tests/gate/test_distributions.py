from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.gate.distributions import beta_ratio, student_cdf, student_quantile


@pytest.mark.parametrize(
    ("probability", "freedom", "published"),
    [  # NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2
        (0.975, 1, 12.706),
        (0.95, 2, 2.920),
        (0.975, 4, 2.776),
        (0.99, 10, 2.764),
        (0.975, 30, 2.042),
        (0.999, 5, 5.893),
        (0.975, 100, 1.984),
    ],
)
def test_quantiles_are_the_published_ones(
    probability: float, freedom: int, published: float
) -> None:
    assert student_quantile(probability, freedom) == pytest.approx(published, abs=6e-4)


@given(st.floats(0.5, 0.9999), st.integers(1, 3000))
def test_quantile_inverts_the_distribution(probability: float, freedom: int) -> None:
    quantile = student_quantile(probability, freedom)
    assert student_cdf(quantile, freedom) == pytest.approx(probability, abs=1e-9)


def test_distribution_with_one_and_two_degrees_is_the_closed_form() -> None:
    for t in (-3.0, -0.2, 0.0, 0.7, 12.0):
        assert student_cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi)
        assert student_cdf(t, 2) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)))


@given(st.integers(1, 60), st.integers(1, 60))
def test_beta_ratio_of_whole_numbers_is_a_binomial_tail(a: int, b: int) -> None:
    n = a + b - 1  # DLMF 8.17.5
    tail = sum(math.comb(n, k) for k in range(a, n + 1)) / 2**n
    assert beta_ratio(a, b, 0.5) == pytest.approx(tail, rel=1e-9)
