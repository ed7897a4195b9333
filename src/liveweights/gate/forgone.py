"""What silence forgoes: the share of a candidate's own right drafts that are not shown.

Which drafts are right is rare and noisy among those that a model is least sure of, where silence
decides; how often drafts of a confidence are right is not. So the share is that of a logistic
calibration (Platt 1999, "Probabilistic outputs for support vector machines") of the drafts. Its
interval is that of a normal logarithm, whose deviation is that over calibrations of sessions drawn
anew (the cluster bootstrap; Efron 1979): percentiles of so skewed a share cover too little.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from liveweights.gate.evalues import FloatArray
from liveweights.gate.selection import sigmoid

BoolArray = NDArray[np.bool_]

DRAWS = 200
LEAST_RIGHT = 30
"""Right drafts below which nothing is known of what would be left of them."""
_STEPS = 30
_PRIOR = 1e-2
"""Precision of a Gaussian prior on the calibration: finite also where drafts are parted."""


def forgone_shares(
    confidence_B: FloatArray,
    right_B: BoolArray,
    sessions_B: Sequence[str],
    *,
    confidence: float,
    always: int = 0,
) -> FloatArray:
    """[B + 1]: at place k the upper end of the interval of the share of right drafts that is not
    shown where the k least sure of these are not; never less than what was seen of these drafts.
    1 from place 1 on where too few are right, or all are of one session, which shows no spread.
    ``always`` are right drafts that are shown anyway.
    """
    most = np.concatenate([[0.0], np.ones(len(confidence_B))])
    if int(right_B.sum()) + always < LEAST_RIGHT or len(set(sessions_B)) < 2:
        return most
    order = np.argsort(confidence_B, kind="stable")
    taken_B = right_B[order].astype(np.float64)
    spread = max(float(confidence_B.std()), 1e-9)
    scaled_B = (confidence_B[order] - confidence_B.mean()) / spread
    _, session_B = np.unique(np.asarray(sessions_B)[order], return_inverse=True)
    sessions = int(session_B.max()) + 1
    drawn = np.random.default_rng(0).multinomial(sessions, np.full(sessions, 1 / sessions), DRAWS)
    weight_DB = np.vstack([np.ones(len(order)), drawn[:, session_B].astype(np.float64)])
    chance_DB = weight_DB * _calibrate(scaled_B, taken_B, weight_DB)
    whole_D = chance_DB.sum(axis=1) + always
    # A draw may leave out all of the least sure.
    share_DB = np.maximum(np.cumsum(chance_DB, axis=1) / whole_D[:, None], 1e-12)
    away = NormalDist().inv_cdf(0.5 + confidence / 2)
    high_B = share_DB[0] * np.exp(away * np.log(share_DB[1:]).std(axis=0))
    seen_B = np.cumsum(taken_B) / (taken_B.sum() + always)
    most[1:] = np.minimum(np.maximum(high_B, seen_B), 1.0)
    return most


def _calibrate(scaled_B: FloatArray, right_B: FloatArray, weight_DB: FloatArray) -> FloatArray:
    """[D, B]: how likely each draft is right, by a logistic curve for each row of weights, found by
    Newton's method."""
    theta_DF = np.zeros((len(weight_DB), 2))
    for _ in range(_STEPS):
        chance_DB = sigmoid(theta_DF[:, :1] + theta_DF[:, 1:] * scaled_B)
        off_DB = weight_DB * (chance_DB - right_B)
        curve_DB = weight_DB * chance_DB * (1 - chance_DB)
        slope_DF = np.stack([off_DB.sum(1), off_DB @ scaled_B], axis=1) + _PRIOR * theta_DF
        a_D, b_D = curve_DB.sum(1) + _PRIOR, curve_DB @ scaled_B
        c_D = curve_DB @ scaled_B**2 + _PRIOR
        determinant_D = a_D * c_D - b_D**2
        step_DF = np.stack(
            [c_D * slope_DF[:, 0] - b_D * slope_DF[:, 1],
             a_D * slope_DF[:, 1] - b_D * slope_DF[:, 0]], axis=1,
        ) / determinant_D[:, None]  # fmt: skip
        # Far from the minimum a whole step may overshoot.
        theta_DF -= np.clip(step_DF, -2.0, 2.0)
        if float(np.abs(step_DF).max()) < 1e-8:
            break
    return sigmoid(theta_DF[:, :1] + theta_DF[:, 1:] * scaled_B)
