"""The logits that are sampled from: the model's, with penalties, a bias and under a constraint."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np

from liveweights.engines.penalties import Penalties

if TYPE_CHECKING:
    from numpy.typing import NDArray


def biased_logits(
    raw_V: NDArray[np.floating],
    bias: Iterable[tuple[int, float]],
    allowed_V: NDArray[np.bool_] | None,
    penalties: Penalties | None = None,
) -> NDArray[np.float64]:
    """``raw_V`` (logits or log-probabilities) after the penalties, plus the bias, -inf where it is
    not allowed.

    Token ids beyond the vocabulary are ignored.
    """
    out = np.array(raw_V, dtype=np.float64)
    if penalties is not None:
        penalties.apply(out)
    for token, value in bias:
        if token < len(out):
            out[token] += value
    if allowed_V is not None:
        out[~allowed_V] = -np.inf
    return out
