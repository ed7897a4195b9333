"""Distribution functions that the standard library lacks."""

from __future__ import annotations

import math
from functools import cache


@cache
def student_quantile(probability: float, freedom: int) -> float:
    """Quantile of Student's t for a probability of at least one half, to nine digits."""
    if freedom < 1 or not 0.5 <= probability < 1:
        raise ValueError(f"no t quantile for {probability=} and {freedom=}")
    low, high = 0.0, 1.0
    while student_cdf(high, freedom) < probability:
        low, high = high, high * 2
    for _ in range(60):
        middle = (low + high) / 2
        if student_cdf(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def student_cdf(t: float, freedom: int) -> float:
    """Distribution function of Student's t (DLMF 8.17.1: I_x(1 / 2, freedom / 2))."""
    half = beta_ratio(0.5, freedom / 2, t * t / (freedom + t * t)) / 2
    return 0.5 + half if t > 0 else 0.5 - half


def beta_ratio(a: float, b: float, x: float) -> float:
    """Regularised incomplete beta function by its continued fraction (DLMF 8.17.22)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # where the fraction converges slowly: DLMF 8.17.4
        return 1 - beta_ratio(b, a, 1 - x)
    front = math.exp(
        math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    )
    # Modified Lentz: numerator and denominator of successive convergents, kept off zero.
    tiny = 1e-300
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    fraction = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            step = c * d
            fraction *= step
        if abs(step - 1) < 1e-15:
            break
    return front * fraction / a
