"""A small model of rewards, for the doubly robust estimate."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from liveweights.gate.offpolicy import Predicted
from liveweights.gate.statistics import FloatArray, group

RIDGE = 1.0


def predict(
    rewards_B: Sequence[float] | FloatArray,
    logged_B: Sequence[str],
    candidate_B: Sequence[str],
    incumbent_B: Sequence[str],
    *,
    sessions_B: Sequence[Hashable] | None = None,
    folds: int = 5,
) -> Predicted:
    """Ridge regression of reward on how an answer looks, fitted without the answer's own session.

    Cross-fitting (Chernozhukov et al. 2018, "Double/debiased machine learning", definition 3.1)
    keeps a row's own reward out of its prediction. ``B`` answers: the logged ones with their
    rewards, and one of each policy to the same prompts. Raises ValueError on unequal lengths.
    """
    rewards = np.asarray(rewards_B, dtype=np.float64)
    if not len(rewards) == len(logged_B) == len(candidate_B) == len(incumbent_B):
        raise ValueError("one reward, logged, candidate's and incumbent's answer per prompt")
    fold_of = group(sessions_B, len(rewards)) % folds
    seen, *others = (_features(answers) for answers in (logged_B, candidate_B, incumbent_B))
    predicted = [np.zeros(len(rewards)) for _ in range(3)]
    for fold in range(folds):
        mine, rest = fold_of == fold, fold_of != fold
        if not mine.any():
            continue
        weights = _fit(seen[rest], rewards[rest])
        for into, features in zip(predicted, (seen, *others), strict=True):
            into[mine] = features[mine] @ weights
    return Predicted(*predicted)


def _features(answers: Sequence[str]) -> FloatArray:
    """Per answer: a constant, whether it is silent, its length, its lines (B, 4)."""
    return np.array(
        [
            [1.0, float(not text.strip()), np.log1p(len(text)), np.log1p(text.count("\n"))]
            for text in answers
        ],
        dtype=np.float64,
    ).reshape(len(answers), 4)


def _fit(features: FloatArray, rewards: FloatArray) -> FloatArray:
    penalty = np.eye(features.shape[1]) * RIDGE
    penalty[0, 0] = 1e-6  # the mean itself is not shrunk
    solved = np.linalg.solve(features.T @ features + penalty, features.T @ rewards)
    return solved.astype(np.float64)
