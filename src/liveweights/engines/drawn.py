"""From what a server says of one step to the token that the API gets."""

from __future__ import annotations

from dataclasses import dataclass

from liveweights.engines.distribution import sampling_logprob
from liveweights.engines.experts import Experts
from liveweights.engines.protocol import Sampling, StopReason, Token
from liveweights.engines.text import TextStream

MAX_CANDIDATES = 64


@dataclass(frozen=True, slots=True)
class Step:
    """A sampled token and the most likely candidates, best first, with raw log-probabilities.

    ``drawn`` is the log-probability with which it was drawn, where that was done here, not by the
    server. ``experts`` are of the whole answer, where the server says them with its last token.
    """

    id: int
    logprob: float
    candidates: tuple[tuple[int, float], ...]
    experts: Experts | None = None
    drawn: float | None = None


def candidate_count(sampling: Sampling, default: int) -> int:
    """How many most likely tokens are sampled from: top_k within ``MAX_CANDIDATES``."""
    if sampling.temperature <= 0:
        return 1
    return min(sampling.top_k or default, MAX_CANDIDATES)


def drawn_token(
    step: Step, size: int, sampling: Sampling, text: TextStream, *, count: int, ended: bool
) -> Token:
    """The ``count``-th token of an answer, drawn from the first ``size`` candidates by min_p and
    top_p.

    ``ended`` says that it is an end-of-text token, which is no text whatever it spells.
    """
    visible = "" if ended else text.push(step.id)
    stop: StopReason | None = None
    if not text.stopped and (ended or count == sampling.max_tokens):
        visible += text.finish()
        stop = "stop" if ended else "length"
    if text.stopped:
        stop = "stop"
    return Token(
        id=step.id,
        text=visible,
        logprob=_logprob(step, size, sampling) if step.drawn is None else step.drawn,
        raw_logprob=step.logprob,
        top=step.candidates[: sampling.top_logprobs],
        stop=stop,
        experts=step.experts if stop else None,
    )


def _logprob(step: Step, size: int, sampling: Sampling) -> float:
    candidates = list(step.candidates[:size])
    if all(i != step.id for i, _ in candidates):  # equal at the edge of the top-k
        candidates[-1:] = [(step.id, step.logprob)]
    return sampling_logprob(
        candidates,
        step.id,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        min_p=sampling.min_p,
    )
