"""How far the candidate has moved from the incumbent on answers that were served."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
CUT = 5.0
"""Largest difference of one token's log-probabilities that is told apart, in nats."""


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """``divergence`` is in nats per token; ``worst`` is the largest of one answer."""

    divergence: float
    worst: float
    tokens: int
    answers: int


def measure_drift(
    candidate: Sequence[Sequence[float] | FloatArray],
    incumbent: Sequence[Sequence[float] | FloatArray],
) -> Drift:
    """Estimate KL(incumbent || candidate) per token from log-probabilities of served answers.

    Each argument holds one sequence of raw per-token log-probabilities per answer. The estimator
    is k3 of Schulman 2020, "Approximating KL divergence" (joschu.net/blog/kl-approx.html):
    exp(d) - 1 - d with d = log candidate - log incumbent. It is never negative, and unbiased for
    answers that the incumbent gave, but for d being cut to ``CUT``: beyond, one token of
    thousands would be all of the estimate. Raises ValueError where shapes differ or nothing is
    there.
    """
    if [len(a) for a in candidate] != [len(b) for b in incumbent]:
        raise ValueError("candidate and incumbent must score the same tokens")
    per_answer = [
        _k3(np.asarray(a, dtype=np.float64) - np.asarray(b, dtype=np.float64))
        for a, b in zip(candidate, incumbent, strict=True)
        if len(a)
    ]
    if not per_answer:
        raise ValueError("there are no answers to measure drift on")
    tokens = np.concatenate(per_answer)
    return Drift(
        divergence=float(tokens.mean()),
        worst=max(float(answer.mean()) for answer in per_answer),
        tokens=len(tokens),
        answers=len(per_answer),
    )


def _k3(differences_T: FloatArray) -> FloatArray:
    differences = np.clip(differences_T, -CUT, CUT)
    return np.expm1(differences) - differences  # expm1 keeps small ones exact
