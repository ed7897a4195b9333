"""Learning when to say nothing: the selection function, from what drafts would have earned.

What silence would have earned instead of a draft is known without trying it, so a draft that is
known to be right or wrong tells what both choices are worth: it is a classification with costs, not
a bandit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from liveweights.learn.voters import Voter
from liveweights.weights.selection import Selection

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Vector = np.ndarray[tuple[int], np.dtype[np.float64]]

_FIRST_DEVIATION = (0.5, 3.0)
"""How far slope and intercept may be from those of a model whose probabilities are right: the
answer is what the user wants with probability exp(c)."""
_LEAST_SLOPE = 0.02
_STEPS = 50


@dataclass(frozen=True, slots=True)
class Drafted:
    """A greedy draft: its confidence (see ``catalog.selection``), by ``weight`` what silence would
    have earned more than it, and whose reaction says so."""

    confidence: float
    weight: float
    voter: Voter


def fit_selection(drafts: Sequence[Drafted], accepted: float, rejected: float) -> Selection:
    """Show where the expected reward is above that of silence.

    ``accepted`` > 0 is what a good answer earns more than silence, ``rejected`` > 0 what a bad one
    earns less. Minimises, by Newton's method, the cost-sensitive logistic loss (Elkan 2001, "The
    foundations of cost-sensitive learning", section 2) -- w > 0: -w log(1 - P(show)); w < 0:
    w log P(show) -- plus a Gaussian prior around taking the model's probabilities to be right,
    which is all there is where nothing was drafted.
    """
    prior_F = np.array([1.0, math.log(accepted / rejected)])
    slope, intercept = _FIRST_DEVIATION
    precision_FF = np.diag([slope**-2, intercept**-2])
    x_BF = np.array([[draft.confidence, 1.0] for draft in drafts]).reshape(len(drafts), 2)
    gain_B = np.array([draft.weight for draft in drafts])
    theta_F = _newton(prior_F, precision_FF, x_BF, gain_B)
    return Selection(slope=max(_LEAST_SLOPE, float(theta_F[0])), intercept=float(theta_F[1]))


def show_from(selection: Selection, confidence: float) -> Selection:
    """The same with an intercept that shows everything from this confidence on."""
    return Selection(slope=selection.slope, intercept=-selection.slope * confidence)


def _newton(prior_F: Vector, precision_FF: Matrix, x_BF: Matrix, gain_B: Vector) -> Vector:
    """The minimum; the loss is convex, and steps are halved where they would climb."""
    better_B, cost_B = gain_B < 0, np.abs(gain_B)

    def loss(theta_F: Vector) -> float:
        logit_B = x_BF @ theta_F
        wrong_B = np.logaddexp(0.0, np.where(better_B, -logit_B, logit_B))
        off_F = theta_F - prior_F
        return float(cost_B @ wrong_B + 0.5 * off_F @ precision_FF @ off_F)

    theta_F = prior_F.copy()
    for _ in range(_STEPS):
        show_B = sigmoid(x_BF @ theta_F)
        slope_F = x_BF.T @ (cost_B * (show_B - better_B)) + precision_FF @ (theta_F - prior_F)
        hessian_FF = (x_BF * (cost_B * show_B * (1 - show_B))[:, None]).T @ x_BF + precision_FF
        step_F = np.linalg.solve(hessian_FF, slope_F)
        size, here = 1.0, loss(theta_F)
        while loss(theta_F - size * step_F) > here and size > 1e-6:
            size /= 2
        theta_F = theta_F - size * step_F
        if float(np.abs(size * step_F).max()) < 1e-9:
            break
    return theta_F


def sigmoid(logit_B: Vector) -> Vector:
    return 1.0 / (1.0 + np.exp(-np.clip(logit_B, -500, 500)))
