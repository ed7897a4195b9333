"""What a policy would have earned, from answers that another policy gave."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from liveweights.gate.distributions import student_quantile
from liveweights.gate.statistics import FloatArray, clustered_error, group


class OffPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """An importance-sampling estimate; everything but the sizes is None where it was refused."""

    value: float | None = None
    low: float | None = None
    high: float | None = None
    standard_error: float | None = None
    effective: float
    """Effective sample size."""
    cases: int
    clipped: int
    """Answers whose weight was cut to the clip."""
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class Predicted:
    """A model's guess of the reward of each answer: the logged one, and one of each policy."""

    logged_B: FloatArray
    candidate_B: FloatArray
    incumbent_B: FloatArray


def effective_size(weights_B: FloatArray) -> float:
    """Kish's effective sample size, (sum w)^2 / sum w^2 (Kish 1965, Survey Sampling, 11.7)."""
    squares = float((weights_B**2).sum())
    return float(weights_B.sum()) ** 2 / squares if squares > 0 else 0.0


def ips_difference(
    rewards_B: Sequence[float] | FloatArray,
    candidate_logratios_B: Sequence[float] | FloatArray,
    incumbent_logratios_B: Sequence[float] | FloatArray,
    clip: float = 10.0,
    *,
    sessions_B: Sequence[Hashable] | None = None,
    floor: float = 30.0,
    confidence: float = 0.95,
) -> OffPolicy:
    """Candidate's minus incumbent's mean of w R: `doubly_robust_difference` without predictions.

    Horvitz & Thompson 1952. Unbiased where no weight is cut; wider than `snips_difference` where
    rewards are far from 0.
    """
    none_B = np.zeros(len(rewards_B))
    return doubly_robust_difference(
        rewards_B,
        candidate_logratios_B,
        incumbent_logratios_B,
        Predicted(none_B, none_B, none_B),
        clip=clip,
        sessions_B=sessions_B,
        floor=floor,
        confidence=confidence,
    )


def doubly_robust_difference(
    rewards_B: Sequence[float] | FloatArray,
    candidate_logratios_B: Sequence[float] | FloatArray,
    incumbent_logratios_B: Sequence[float] | FloatArray,
    predicted: Predicted,
    *,
    clip: float = 10.0,
    sessions_B: Sequence[Hashable] | None = None,
    floor: float = 30.0,
    confidence: float = 0.95,
) -> OffPolicy:
    """Candidate's minus incumbent's mean of q(x, a_pi) + w (R - q(x, a)), paired by answer.

    Dudik, Langford & Li 2011, "Doubly robust policy evaluation and learning", eq. 2, with one
    draw a_pi of each policy in place of the expectation over it. Right where either the
    predictions q or the weights are, and narrower the more of the rewards' spread q explains.
    Otherwise as `snips_difference`.
    """
    rewards, ours, cut = _weigh(rewards_B, candidate_logratios_B, clip)
    _, theirs, also_cut = _weigh(rewards_B, incumbent_logratios_B, clip)
    effective = min(effective_size(ours), effective_size(theirs))
    if effective < floor:
        return _refuse(len(rewards), effective, cut + also_cut, floor)
    direct = predicted.candidate_B - predicted.incumbent_B
    terms = direct + (ours - theirs) * (rewards - predicted.logged_B)
    value = float(terms.mean())
    return _interval(
        value,
        terms - value,
        effective=effective,
        clipped=cut + also_cut,
        groups_B=group(sessions_B, len(rewards)),
        confidence=confidence,
    )


def snips_difference(
    rewards_B: Sequence[float] | FloatArray,
    candidate_logratios_B: Sequence[float] | FloatArray,
    incumbent_logratios_B: Sequence[float] | FloatArray,
    clip: float = 10.0,
    *,
    sessions_B: Sequence[Hashable] | None = None,
    floor: float = 30.0,
    confidence: float = 0.95,
) -> OffPolicy:
    """Candidate's minus incumbent's self-normalised mean reward, sum(w R) / sum(w), on the same
    answers, paired answer by answer.

    The log-ratios are sums over an answer's tokens of log pi - log mu, with mu as recorded when it
    was served; w = min(exp(logratio), clip). Swaminathan & Joachims 2015, "The self-normalized
    estimator for counterfactual learning", eq. 5; standard error by the delta method, clustered.
    Pairing cancels the luck of the log, and the part of log mu that is the engine's rounding.
    The effective size is the smaller of the two; refused where that is below ``floor``. Raises
    ValueError on unequal lengths.
    """
    rewards, ours, cut = _weigh(rewards_B, candidate_logratios_B, clip)
    _, theirs, also_cut = _weigh(rewards_B, incumbent_logratios_B, clip)
    effective = min(effective_size(ours), effective_size(theirs))
    if effective < floor:
        return _refuse(len(rewards), effective, cut + also_cut, floor)
    value, influence = _self_normalised(rewards, ours)
    their_value, other_influence = _self_normalised(rewards, theirs)
    return _interval(
        value - their_value,
        influence - other_influence,
        effective=effective,
        clipped=cut + also_cut,
        groups_B=group(sessions_B, len(rewards)),
        confidence=confidence,
    )


def _weigh(
    rewards_B: Sequence[float] | FloatArray, logratios_B: Sequence[float] | FloatArray, clip: float
) -> tuple[FloatArray, FloatArray, int]:
    rewards = np.asarray(rewards_B, dtype=np.float64)
    logratios = np.asarray(logratios_B, dtype=np.float64)
    if rewards.shape != logratios.shape or rewards.ndim != 1:
        raise ValueError(f"{rewards.shape} rewards but {logratios.shape} log-ratios")
    if not np.isfinite(rewards).all() or np.isnan(logratios).any():
        raise ValueError("rewards must be finite and log-ratios must be numbers")
    weights = np.exp(np.minimum(logratios, np.log(clip)))
    return rewards, weights, int((logratios > np.log(clip)).sum())


def _self_normalised(rewards_B: FloatArray, weights_B: FloatArray) -> tuple[float, FloatArray]:
    """The estimate and each answer's influence on it; the mean of influences is zero."""
    value = float((weights_B * rewards_B).sum() / weights_B.sum())
    return value, weights_B * (rewards_B - value) / weights_B.mean()


def _interval(
    value: float,
    influence_B: FloatArray,
    *,
    effective: float,
    clipped: int,
    groups_B: np.ndarray[tuple[int], np.dtype[np.int64]],
    confidence: float,
) -> OffPolicy:
    error = clustered_error(influence_B, groups_B)
    sizes = OffPolicy(effective=effective, cases=len(influence_B), clipped=clipped)
    if error is None:
        return msgspec.structs.replace(sizes, refused="one session only: it has no spread to see")
    reach = student_quantile(0.5 + confidence / 2, int(groups_B.max())) * error
    return msgspec.structs.replace(
        sizes, value=value, low=value - reach, high=value + reach, standard_error=error
    )


def _refuse(cases: int, effective: float, clipped: int, floor: float) -> OffPolicy:
    return OffPolicy(
        effective=effective,
        cases=cases,
        clipped=clipped,
        refused=f"{effective:.1f} effective samples of {cases}; at least {floor:g} are needed",
    )
