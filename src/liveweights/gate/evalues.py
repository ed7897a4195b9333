"""Evidence that may be looked at after every case: e-values and confidence sequences.

An e-process is a stream that under its hypothesis is worth at most 1 on average whenever one
stops, so it ever exceeds 1 / alpha with a chance of at most alpha (Ville 1939). All values are
natural logarithms, "log wealth".
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from liveweights.gate.distributions import beta_ratio

FloatArray = NDArray[np.float64]

# Fractions of the largest bet that cannot ruin: small ones see small effects, large ones fast.
BETS = np.array([0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95])


def beta_binomial(rises: int, falls: int) -> float:
    """Log e-value against "a change is no likelier a rise than a fall", for paired binary cases.

    ``rises`` and ``falls`` count the discordant pairs so far. It is the likelihood of their order
    under a uniform mixture of all chances above one half, over that under one half (Robbins 1970,
    "Statistical methods related to the law of the iterated logarithm"; for conditional odds of
    pairs as in McNemar's test). For any true chance up to one half it is a supermartingale.
    """
    if rises < 0 or falls < 0:
        raise ValueError(f"counts cannot be negative: {rises=}, {falls=}")
    above = beta_ratio(falls + 1, rises + 1, 0.5)  # P(chance > 1 / 2) under Beta(rises+1, falls+1)
    if above <= 0:
        return -math.inf
    mixture = math.lgamma(rises + 1) + math.lgamma(falls + 1) - math.lgamma(rises + falls + 2)
    return (rises + falls + 1) * math.log(2) + mixture + math.log(above)


def wealth(values_K: FloatArray, mean: float, width: float) -> FloatArray:
    """Log wealth after each value of betting that their mean is above ``mean`` (..., K).

    Values lie in [-width, width], so the largest bet that cannot ruin is 1 / (width + mean).
    Waudby-Smith & Ramdas 2024, "Estimating means of bounded random variables by betting",
    sections 4 and B.6: constant bets, averaged.
    """
    bets_J = BETS / (width + mean)
    gains_JK = np.log1p(bets_J[:, None] * (values_K[..., None, :] - mean))
    return np.logaddexp.reduce(gains_JK.cumsum(axis=-1), axis=-2) - np.log(len(BETS))


def interval(differences_K: FloatArray, alpha: float, width: float) -> tuple[float, float]:
    """Confidence sequence at 1 - alpha for the mean: what betting has not ruled out so far."""
    ends: list[float] = []
    for values in (differences_K, -differences_K):
        grid = np.linspace(-width, width, 201)
        ruled_out = [
            mean
            for mean in grid[1:-1]
            if len(values) and wealth(values, float(mean), width).max() >= math.log(2 / alpha)
        ]
        ends.append(max(ruled_out, default=-width))
    return float(ends[0]), float(-ends[1])
