"""The distribution that a token was drawn from: the behaviour policy, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


_NUCLEUS = 1024
"""Candidates among which a nucleus nearly always is; sorting them all takes longer."""


def sampling_logprobs(
    raw: NDArray[np.floating], *, temperature: float, top_p: float = 1.0, top_k: int = 0
) -> NDArray[np.float64]:
    """Log-probabilities after top-k, temperature and top-p, in this order.

    ``raw`` [N] are log-probabilities (or logits) of N candidates; the result [N] is -inf for
    those cut off and sums to 1. ``top_k`` 0 means no limit. ``top_p`` keeps the smallest set of
    most likely candidates whose probability after temperature reaches it (nucleus sampling,
    Holtzman et al., arXiv 1904.09751). Temperature 0 puts everything on the most likely one.
    """
    values = np.asarray(raw, dtype=np.float64)
    out = np.full(values.shape, -np.inf)
    if temperature <= 0.0:
        out[int(values.argmax())] = 0.0
        return out
    kept = np.arange(len(values))
    if 0 < top_k < len(values):
        kept = np.sort(np.argpartition(-values, top_k - 1)[:top_k])
    scaled = _log_softmax(values[kept] / temperature)
    if top_p < 1.0:
        order = most_likely(scaled, _NUCLEUS)
        cumulated = np.cumsum(np.exp(scaled[order]))
        if cumulated[-1] < top_p:
            order = most_likely(scaled, len(scaled))
            cumulated = np.cumsum(np.exp(scaled[order]))
        count = int(np.searchsorted(cumulated, top_p)) + 1
        order = order[:count]
        kept, scaled = kept[order], _log_softmax(scaled[order])
    out[kept] = scaled
    return out


def sampling_logprob(
    candidates: list[tuple[int, float]], token: int, *, temperature: float, top_p: float = 1.0
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
    logprobs = sampling_logprobs(raw, temperature=temperature, top_p=top_p)
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


def draw(logprobs_V: NDArray[np.floating], uniform: float) -> int:
    """The token at which the cumulated probability exceeds ``uniform``, in [0, 1)."""
    cumulated = np.cumsum(np.exp(logprobs_V))
    at = int(np.searchsorted(cumulated, uniform * cumulated[-1], side="right"))
    return min(at, len(cumulated) - 1)


def _log_softmax(values: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = values - values.max()
    return shifted - np.log(np.exp(shifted).sum())
