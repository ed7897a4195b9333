"""Learning when to say nothing: the selection function, from what became of shown answers.

What silence would have earned instead of a shown answer is known without trying it, so every
reaction tells what both choices are worth: it is a classification with costs, not a bandit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from liveweights.learn.voters import Voter
from liveweights.weights.selection import TOKENS, Selection

Matrix = np.ndarray[tuple[int, int], np.dtype[np.float64]]
Vector = np.ndarray[tuple[int], np.dtype[np.float64]]

_FIRST_DEVIATION = (0.5, 3.0)
"""How far the first slope and intercept may be from those of a model whose probabilities are
right: the answer is what the user wants with probability exp(c)."""
_LEAST_SLOPE = 0.02
_STEPS = 50
_LARGEST_WEIGHT = 10.0


@dataclass(frozen=True, slots=True)
class Shown:
    """A shown answer: its confidence (see ``Selection``), by ``weight`` what silence would have
    earned more than it did, the log-probability with which it was shown, and whose it is."""

    confidence: float
    weight: float
    logprob: float
    voter: Voter


def confidence(raw_logprobs: Sequence[float], tokens: int = TOKENS) -> float:
    """Of an answer, from its tokens' raw log-probabilities."""
    return float(sum(raw_logprobs[:tokens]))


def first_selection(accepted: float, rejected: float) -> Selection:
    """Where nothing was learnt yet: show if the expected reward is above that of silence, taking
    the model's probabilities to be right. ``accepted`` > 0 is what a good answer earns more than
    silence, ``rejected`` > 0 what a bad one earns less."""
    slope, intercept = _FIRST_DEVIATION
    return Selection(
        slope=1.0,
        intercept=math.log(accepted / rejected),
        precision=(slope**-2, 0.0, 0.0, intercept**-2),
    )


def fit_selection(
    before: Selection | None,
    first: Selection,
    shown: Sequence[Shown],
    *,
    keep: float,
    most_withheld: float,
) -> Selection | None:
    """The selection after the reactions to ``shown`` answers. ``before`` is the incumbent's;
    where it has none, ``first`` is what to start from.

    Minimises, by Newton's method, the cost-sensitive logistic loss (Elkan 2001, "The foundations
    of cost-sensitive learning", section 2) -- w > 0: -w log(1 - P(show)); w < 0: w log P(show) --
    plus the Gaussian prior that the selection before is. Its precision is forgotten at
    the rate 1 - ``keep`` and grows by the Hessian (Laplace's approximation, as in Chapelle & Li
    2011, "An empirical evaluation of Thompson sampling", algorithm 3). Answers that were shown
    with a small probability stand for those that were not (inverse propensity, cut at 10).

    Of the answers that the incumbent would show at temperature 0, at most the share
    ``most_withheld`` would be withheld.
    """
    if not shown:
        return before
    prior = before or first
    x_BF = np.array([[one.confidence, 1.0] for one in shown])
    chance_B = np.array([math.exp(one.logprob) for one in shown])
    gain_B = np.array([one.weight for one in shown])
    gain_B = gain_B * np.minimum(1.0 / chance_B, _LARGEST_WEIGHT)
    prior_FF: Matrix = keep * np.array(prior.precision).reshape(2, 2)
    theta_F, hessian_FF = _newton(np.array([prior.slope, prior.intercept]), prior_FF, x_BF, gain_B)
    slope = max(_LEAST_SLOPE, float(theta_F[0]))
    fitted = Selection(
        slope=slope,
        intercept=float(theta_F[1]),
        precision=tuple(map(float, hessian_FF.ravel())),  # pyright: ignore[reportArgumentType]
        tokens=prior.tokens,
    )
    now = [one.confidence for one in shown if before is None or before.shows(one.confidence)]
    return _bounded(fitted, now, most_withheld)


def _newton(
    prior_F: Vector, precision_FF: Matrix, x_BF: Matrix, gain_B: Vector
) -> tuple[Vector, Matrix]:
    """The minimum and the Hessian there; the loss is convex and its steps are halved where they
    would climb."""
    better_B, cost_B = gain_B < 0, np.abs(gain_B)

    def loss(theta_F: Vector) -> float:
        logit_B = x_BF @ theta_F
        wrong_B = np.logaddexp(0.0, np.where(better_B, -logit_B, logit_B))
        off_F = theta_F - prior_F
        return float(cost_B @ wrong_B + 0.5 * off_F @ precision_FF @ off_F)

    def hessian(show_B: Vector) -> Matrix:
        return (x_BF * (cost_B * show_B * (1 - show_B))[:, None]).T @ x_BF + precision_FF

    theta_F = prior_F.copy()
    for _ in range(_STEPS):
        show_B = _sigmoid(x_BF @ theta_F)
        slope_F = x_BF.T @ (cost_B * (show_B - better_B)) + precision_FF @ (theta_F - prior_F)
        step_F = np.linalg.solve(hessian(show_B), slope_F)
        size, here = 1.0, loss(theta_F)
        while loss(theta_F - size * step_F) > here and size > 1e-6:
            size /= 2
        theta_F = theta_F - size * step_F
        if float(np.abs(size * step_F).max()) < 1e-9:
            break
    return theta_F, hessian(_sigmoid(x_BF @ theta_F))


def _bounded(selection: Selection, confidences: Sequence[float], most: float) -> Selection:
    """The same with an intercept that withholds at most the share ``most`` of these."""
    ordered = sorted(confidences)
    allowed = int(most * len(ordered))
    if allowed >= len(ordered):
        return selection
    needed = -selection.slope * ordered[allowed]
    if selection.intercept >= needed:
        return selection
    return msgspec.structs.replace(selection, intercept=needed)


def _sigmoid(logit_B: Vector) -> Vector:
    return 1.0 / (1.0 + np.exp(-np.clip(logit_B, -500, 500)))
