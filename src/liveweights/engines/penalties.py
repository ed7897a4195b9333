"""What makes tokens less likely that were there before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from liveweights.engines.protocol import Sampling

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Penalties:
    """Of one answer. OpenAI's two are taken off the logits of tokens of the answer: presence once,
    frequency for each time. The third divides the logits of tokens of prompt and answer, or
    multiplies them where they are below 0 (Keskar et al. 2019, arXiv 1909.05858, section 4.1)."""

    def __init__(self, sampling: Sampling, prompt_ids: Iterable[int]) -> None:
        self._sampling = sampling
        self._counts: Counter[int] = Counter()
        self._seen = set(prompt_ids) if sampling.repetition_penalty != 1 else set[int]()

    @property
    def raise_any(self) -> bool:
        """Whether a token can become more likely than it was."""
        how = self._sampling
        return min(how.frequency_penalty, how.presence_penalty, how.repetition_penalty - 1) < 0

    def push(self, token: int) -> None:
        """Take the token that was drawn."""
        self._counts[token] += 1
        if self._sampling.repetition_penalty != 1:
            self._seen.add(token)

    def apply(self, values_V: NDArray[np.float64]) -> None:
        """Change logits (or log-probabilities) in place."""
        how = self._sampling
        if self._seen:
            ids = _within(list(self._seen), len(values_V))
            seen = values_V[ids]
            penalty = how.repetition_penalty
            values_V[ids] = np.where(seen > 0, seen / penalty, seen * penalty)
        if self._counts:
            ids = _within(list(self._counts), len(values_V))
            counts = np.array([self._counts[id] for id in ids.tolist()])
            values_V[ids] -= how.frequency_penalty * counts + how.presence_penalty


def make_penalties(sampling: Sampling, prompt_ids: Iterable[int]) -> Penalties | None:
    """None where the request asks for none."""
    how = sampling
    if not how.frequency_penalty and not how.presence_penalty and how.repetition_penalty == 1:
        return None
    return Penalties(sampling, prompt_ids)


def _within(ids: Sequence[int], size: int) -> NDArray[np.intp]:
    ids_N = np.array(ids, dtype=np.intp)
    return ids_N[ids_N < size]
