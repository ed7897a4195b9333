"""The distribution that a token was drawn from: the behaviour policy, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


_NUCLEUS = 1024
"""Candidates among which a nucleus nearly always is; sorting them all takes longer."""
_BLOCK = 256
"""Weights are added up in blocks of so many: a running sum over all of them takes longer."""


def sampling_logprobs(
    raw: NDArray[np.floating],
    *,
    temperature: float,
    top_p: float = 1.0,
    top_k: int = 0,
    min_p: float = 0.0,
) -> NDArray[np.float64]:
    """Log-probabilities after top-k, temperature, min-p and top-p, in this order.

    ``raw`` [N] are log-probabilities (or logits) of N candidates; the result [N] is -inf for
    those cut off and sums to 1. ``top_k`` 0 means no limit. ``top_p`` keeps the smallest set of
    most likely candidates whose probability after temperature reaches it (nucleus sampling,
    Holtzman et al., arXiv 1904.09751), ``min_p`` those that are at least so likely as that share of
    the most likely one (arXiv 2407.01082). Temperature 0 puts everything on the most likely one.
    """
    values = np.asarray(raw, dtype=np.float64)
    out = np.full(values.shape, -np.inf)
    if temperature <= 0.0:
        out[int(values.argmax())] = 0.0
        return out
    kept, _ = _candidates(
        values, values.max(), temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p
    )
    out[kept] = _log_softmax(values[kept] / temperature)
    return out


def make_generator(seed: int | None) -> np.random.Generator:
    """What draws an answer's tokens; without a ``seed`` it is another each time. Of a seed its last
    64 bits count: clients send negative ones, too."""
    return np.random.default_rng(None if seed is None else seed % 2**64)


def draw(
    raw: NDArray[np.floating],
    uniform: float,
    *,
    temperature: float,
    top_p: float = 1.0,
    top_k: int = 0,
    min_p: float = 0.0,
) -> tuple[int, float]:
    """The candidate that ``uniform``, in [0, 1), falls on when they are laid side by side, each as
    wide as it is likely, and its log-probability: both of `sampling_logprobs`.

    In the precision of ``raw``, and without looking at each candidate more often than needed.
    """
    if temperature <= 0.0:
        return int(raw.argmax()), 0.0
    highest = raw.max()
    kept, weights = _candidates(
        raw, highest, temperature=temperature, top_p=top_p, top_k=top_k, min_p=min_p
    )
    sums = np.cumsum(np.add.reduceat(weights, np.arange(0, len(weights), _BLOCK)), dtype=np.float64)
    place = uniform * sums[-1]
    block = min(int(np.searchsorted(sums, place, side="right")), len(sums) - 1)
    inside = np.cumsum(weights[_BLOCK * block :][:_BLOCK], dtype=np.float64)
    place -= sums[block - 1] if block else 0.0
    # The two ways of adding up differ by rounding.
    place = min(place, np.nextafter(inside[-1], 0.0))
    at = _BLOCK * block + int(np.searchsorted(inside, place, side="right"))
    chosen = at if isinstance(kept, slice) else int(kept[at])
    return chosen, float((float(raw[chosen]) - float(highest)) / temperature - np.log(sums[-1]))


def _candidates(
    raw: NDArray[np.floating],
    highest: np.floating,
    *,
    temperature: float,
    top_p: float,
    top_k: int,
    min_p: float,
) -> tuple[NDArray[np.intp] | slice, NDArray[np.floating]]:
    """What top-k, min-p and top-p leave of the candidates, and how likely each is, the most likely
    as 1."""
    kept: NDArray[np.intp] | slice = slice(None)
    if 0 < top_k < len(raw):
        kept = np.sort(np.argpartition(-raw, top_k - 1)[:top_k])
    weights = raw[kept] - highest
    weights /= temperature
    np.exp(weights, out=weights)
    if min_p > 0.0:
        likely = np.flatnonzero(weights >= min_p)
        kept = likely if isinstance(kept, slice) else kept[likely]
        weights = weights[likely]
    if top_p < 1.0:
        reach = top_p * float(weights.sum())
        order = most_likely(weights, _NUCLEUS)
        cumulated = np.cumsum(weights[order], dtype=np.float64)
        if cumulated[-1] < reach:
            order = most_likely(weights, len(weights))
            cumulated = np.cumsum(weights[order], dtype=np.float64)
        order = order[: int(np.searchsorted(cumulated, reach)) + 1]
        kept = order if isinstance(kept, slice) else kept[order]
        weights = weights[order]
    return kept, weights


def sampling_logprob(
    candidates: list[tuple[int, float]],
    token: int,
    *,
    temperature: float,
    top_p: float = 1.0,
    min_p: float = 0.0,
) -> float:
    """Log-probability with which ``token`` was drawn from ``candidates``, the top-k of a model
    as (id, raw log-probability).

    Where rounding puts ``token`` just outside the nucleus that we compute, the nucleus is
    widened to it: it was drawn.
    """
    if temperature <= 0.0:
        return 0.0
    ids = [i for i, _ in candidates]
    raw = np.array([value for _, value in candidates])
    at = ids.index(token)
    logprobs = sampling_logprobs(raw, temperature=temperature, top_p=top_p, min_p=min_p)
    if np.isneginf(logprobs[at]):
        inside = ~np.isneginf(logprobs) | (raw >= raw[at])
        return float(_log_softmax(raw[inside] / temperature)[ids_before(inside, at)])
    return float(logprobs[at])


def ids_before(mask: NDArray[np.bool_], at: int) -> int:
    """Position of element ``at`` among the elements that ``mask`` keeps."""
    return int(mask[:at].sum())


def most_likely(values_V: NDArray[np.floating], count: int) -> NDArray[np.intp]:
    """Places of the ``count`` highest values, highest first; of equal ones the first comes
    first."""
    if count <= 0:
        return np.empty(0, dtype=np.intp)
    if count >= len(values_V):
        return np.argsort(-values_V, kind="stable")
    least = np.partition(values_V, -count)[-count]
    among = np.flatnonzero(values_V >= least)
    return among[np.argsort(-values_V[among], kind="stable")][:count]


def _log_softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = values - values.max()
    return shifted - np.log(np.exp(shifted).sum())
