"""How the tokens of a recorded answer were drawn, as far as the record tells."""

from __future__ import annotations

import math

from liveweights.record.generation import Generation
from liveweights.weights.selection import COLDEST

APART = 0.1
"""Nats by which server and rounding may be off."""
FORCED, FORCED_BY_MORE = -0.3, -3.0
"""Log-probability below which a token that could not have been another was made so; where top-p
cuts off what is left beside a likely one, too."""


def is_sampled(generation: Generation) -> bool:
    """Whether chance chose. Answers of other servers are recorded with whatever temperature was
    asked for: what is as cold as `COLDEST`, or none at all, is greedy."""
    return COLDEST <= generation.temperature < math.inf


def find_temperature(generation: Generation) -> float:
    """At which its tokens are scored: 1 where it was greedy. A greedy choice has probability 1;
    what drifts between checkpoints is the raw distribution."""
    return generation.temperature if is_sampled(generation) else 1.0


def find_behaviour(generation: Generation) -> list[float]:
    """Log-probabilities (T,) with which the tokens were drawn, at that temperature."""
    return generation.logprobs if is_sampled(generation) else generation.raw_logprobs


def is_narrowed(generation: Generation) -> bool:
    """Whether tokens were drawn from something else than the model's distribution at the
    temperature, such as what a constraint, a bias, penalties or top-k leave.

    Of softmax(logits / t) a token's log-probability is at least 1 / t times the raw one for
    t <= 1, and at most that for t >= 1 (the sum of p^(1/t) is at most, or at least, 1). What
    remains within these bounds and is no forced token is taken for the model's own.
    """
    if not is_sampled(generation) or len(generation.logprobs) != len(generation.raw_logprobs):
        return False
    heat = generation.temperature
    least = FORCED if generation.top_p >= 1.0 else FORCED_BY_MORE
    room = APART - math.log(max(generation.top_p, 0.5))

    def is_own(drawn: float, raw: float) -> bool:
        if drawn > -1e-6 and raw < least:
            return False
        return (heat > 1 or drawn >= raw / heat - APART) and (
            heat < 1 or drawn <= raw / heat + room
        )

    pairs = zip(generation.logprobs, generation.raw_logprobs, strict=True)
    return not all(is_own(drawn, raw) for drawn, raw in pairs)
