"""Answers with a bias or a constraint on llama.cpp: it computes one step, we draw the token.

llama.cpp's own grammars draw a token first and reject it afterwards, so that the probability with
which a token was drawn could not be told. Here each step asks for the most likely tokens with
their raw log-probabilities, and the token is drawn from those that may come next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

import numpy as np

from liveweights.engines.biased import biased_logits
from liveweights.engines.distribution import draw, make_generator
from liveweights.engines.guide import Guide
from liveweights.engines.penalties import Penalties
from liveweights.engines.protocol import EngineError, Sampling

CANDIDATES = 256
"""Most likely tokens that a step asks for; the whole vocabulary where none of them may come."""
_FORCE = 1e6  # a logit bias that no other logit reaches


class Candidate(Protocol):
    @property
    def id(self) -> int: ...

    @property
    def logprob(self) -> float: ...


Ask = Callable[[dict[str, Any]], Awaitable[Sequence[Candidate]]]
"""Compute one step: the parameters of llama.cpp's ``/completion``, the candidates it returns,
most likely first; the one that it drew itself comes first of all."""


class GuidedDraws:
    """Draws the tokens of one answer; ``guide`` is None where there is only a bias, or
    penalties."""

    def __init__(
        self,
        sampling: Sampling,
        guide: Guide | None,
        penalties: Penalties | None,
        *,
        vocabulary: int,
        candidates: int,
    ) -> None:
        self._penalties = penalties
        self._sampling = sampling
        self._guide = guide
        self._vocabulary = vocabulary
        self._top_k = candidates
        self._random = make_generator(sampling.seed)
        # A token that is pushed up may come from anywhere.
        up = any(value > 0 for _, value in sampling.logit_bias)
        up = up or (penalties is not None and penalties.raise_any)
        self._width = vocabulary if up else CANDIDATES

    async def draw(self, ask: Ask) -> tuple[int, float, float, list[tuple[int, float]]]:
        """The next token, its log-probability as it was drawn, its raw one, and the raw
        alternatives."""
        allowed_V = None
        if self._guide:
            await self._guide.ready()
            allowed_V = self._guide.allowed(self._vocabulary)
        if allowed_V is not None and int(allowed_V.sum()) == 1:
            drawn = await self._forced(ask, int(allowed_V.argmax()))
        else:
            drawn = await self._free(ask, allowed_V)
        if self._guide:
            self._guide.push(drawn[0])
        if self._penalties:
            self._penalties.push(drawn[0])
        return drawn

    async def _forced(self, ask: Ask, token: int) -> tuple[int, float, float, list[Any]]:
        count = max(1, self._sampling.top_logprobs)
        first, *top = await ask({"n_probs": count, "logit_bias": [[token, _FORCE]]})
        if first.id != token:
            raise EngineError(f"llama.cpp drew token {first.id} where {token} was forced")
        return token, 0.0, first.logprob, [(c.id, c.logprob) for c in top]

    async def _free(self, ask: Ask, allowed_V: Any) -> tuple[int, float, float, list[Any]]:
        for width in (self._width, self._vocabulary):
            _, *found = await ask({"n_probs": width})
            # Weights may have rows for more tokens than the tokenizer has.
            top = [c for c in found if c.id < self._vocabulary]
            raw_V = np.full(self._vocabulary, -np.inf)
            raw_V[[c.id for c in top]] = [c.logprob for c in top]
            logits_V = biased_logits(raw_V, self._sampling.logit_bias, allowed_V, self._penalties)
            if np.isfinite(logits_V).any():
                break
        token, logprob = draw(
            logits_V,
            self._random.random(),
            temperature=self._sampling.temperature,
            top_p=self._sampling.top_p,
            top_k=self._top_k,
            min_p=self._sampling.min_p,
        )
        alternatives = [(c.id, c.logprob) for c in top]
        return token, logprob, float(raw_V[token]), alternatives
