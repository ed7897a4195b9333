"""One answer, as it was served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

EPISODE = "episode"
"""The key of a generation's metadata that names the task it is a step of."""
Surface = Literal["completion", "chat"]
DAY_MS = 86_400_000
"""No answer takes longer, whatever a clock said."""


def completed(created_at: datetime, total_ms: float) -> datetime:
    """When the whole of an answer was there."""
    return created_at + timedelta(milliseconds=min(total_ms, DAY_MS))


class Counts(NamedTuple):
    """What an answer used; see ``Generation.usage``. ``cached`` is among ``prompt``, ``reasoning``
    among ``output``; ``sent`` is None where the answer was not broken off by us."""

    prompt: int
    output: int
    cached: int = 0
    reasoning: int = 0
    requests: int = 1
    sent: int | None = None


def count_used(usage: Mapping[str, int], prompt: int, output: int) -> Counts:
    """By ``Generation.usage``, as the upstream counted, where it did; else so many ids of our own.
    Raises TypeError for what is not a whole number."""
    if not usage:
        return Counts(prompt, output)
    told = usage.get
    prompt, output = told("prompt_tokens", prompt), told("completion_tokens", output)
    cached, reasoning = told("cached_tokens", 0), told("reasoning_tokens", 0)
    requests, sent = told("requests", 1), told("sent_tokens")
    for count in (prompt, output, cached, reasoning, requests, 0 if sent is None else sent):
        if type(count) is not int:
            raise TypeError(f"a token count is {count}, which is not a whole number")
    return Counts(prompt, output, min(cached, prompt), min(reasoning, output), requests, sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """Everything that learning from an answer needs, recorded when it was served.

    ``output_ids``, ``logprobs`` and ``raw_logprobs`` have the same length T. ``logprobs_T`` is
    the behaviour policy: natural logarithms under the distribution that was sampled from.
    ``logprobs`` are empty for an upstream that gives none. ``output`` is the text that the user
    saw; an empty one is silence.
    """

    id: str
    created_at: datetime
    alias: str
    checkpoint: str
    endpoint: Surface
    prompt_ids: list[int]
    output_ids: list[int]
    logprobs: list[float]
    raw_logprobs: list[float]
    output: str
    finish_reason: str
    """``stop``, ``length``, ``cancelled`` when the client went away, ``error`` when the engine
    failed; neither of the last two is an answer."""
    temperature: float
    top_p: float
    seed: int | None = None
    max_tokens: int = 0
    tenant: str = "default"
    user: str | None = None
    session: str | None = None
    surface: str = ""
    """Where in the product it was shown, e.g. ``editor``; part of the baseline's segment."""
    language: str = ""
    consent: bool = True
    """Whether tenant and request allow training on it."""
    healed: str = ""
    """Text that was cut off the prompt and that ``output_ids`` begin with (not in ``output``)."""
    first_token_ms: float = 0.0
    total_ms: float = 0.0
    metadata: dict[str, str] = field(default_factory=dict[str, str])
    prompt: str = ""
    """What was asked, as JSON in the request's words, where its tokens may not be known: an
    answer that passed through the gateway."""
    usage: dict[str, int] = field(default_factory=dict[str, int])
    """Token counts as the upstream reported them, where the ids do not count: ``prompt_tokens`` and
    ``completion_tokens``, and among these ``cached_tokens`` and ``reasoning_tokens``. ``requests``
    is 0 of all choices of a request but the first, and ``sent_tokens`` what was sent of an answer
    that we broke off."""
    selection: float | None = None
    """Where the user would rather see nothing than an answer that is not sure: the
    log-probability with which it was shown, or was not, given its tokens. None elsewhere."""

    experts: bytes | None = None
    """Of a mixture of experts: those that predicted ``output_ids``, as ``engines.experts.Experts``
    keeps them, where the engine said them and the answer may be learnt from."""
    key: str = ""
    """A digest of the API key, by which one key's influence is bounded; empty where none is asked
    for."""
    reasoning: str = ""
    """What the model thought before it answered, where a server says it apart; no part of
    ``output``."""
    shaping: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """What shaped the answer besides: the strings that end it (``stop``), and the names of
    penalties, a bias, a constraint and the like (``guided_by``). Without ``stop`` nobody knows."""

    @property
    def completed_at(self) -> datetime:
        """When the whole answer was there: what users do with it, they do after that."""
        return completed(self.created_at, self.total_ms)

    @property
    def cluster(self) -> str:
        """What varies together: the tenant's session, else its user, else the row alone."""
        return f"{self.tenant}/{self.session or self.user or self.id}"

    @property
    def withheld(self) -> bool:
        """The user saw nothing where that was welcome; ``output_ids`` are what was drafted until
        it was given up."""
        return self.selection is not None and not self.output
