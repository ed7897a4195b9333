"""The seam between the API and whatever computes tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

from liveweights.engines.experts import Experts
from liveweights.engines.thinking import ThinkingBudget
from liveweights.weights.checkpoint import Checkpoint

StopReason = Literal["stop", "length"]
Guidance = Literal[
    "constraint",
    "logit_bias",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "min_p",
]
"""What of ``Sampling`` changes the distribution that a token is drawn from, beside what every
engine follows."""
ALL_GUIDANCE: frozenset[Guidance] = frozenset(get_args(Guidance))


STRING_CHARACTERS = r'/([^"\\\x00-\x1f]|\\["\\bfnrt])*/'
"""What may stand in the string of a ``StringGrammar``, as an expression in Lark."""


@dataclass(frozen=True, slots=True)
class StringGrammar:
    """What the text of a JSON string within an answer must be, before it is escaped.

    ``source`` is a grammar in llguidance's variant of Lark, or a regular expression that the whole
    text matches (in Rust's syntax). The string begins where the rule ``rule`` of the constraint
    ends, which captures under its own name and says ``opening``; its characters are
    ``STRING_CHARACTERS``. ``about`` says what it was made of, to who sent that.
    """

    rule: str
    opening: str
    kind: Literal["lark", "regex"]
    source: str
    about: str


@dataclass(frozen=True, slots=True)
class Constraint:
    """What the visible text of an answer must be; it is enforced token by token.

    ``json``: any JSON object. ``json_schema``: ``source`` is the schema, as JSON text. ``lark``:
    ``source`` is a grammar in llguidance's variant of Lark, and ``strings`` are those in it whose
    text has a grammar of its own. ``any``: whatever the model says. ``about`` says what it was made
    of, to who sent that. ``thinking`` bounds what is thought before.
    """

    kind: Literal["any", "json", "json_schema", "lark"]
    source: str = ""
    about: str = "the constraint"
    strings: tuple[StringGrammar, ...] = ()
    thinking: ThinkingBudget | None = None


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is drawn.

    ``temperature`` 0 takes the most likely token. ``top_k`` 0 means no limit. ``top_logprobs``
    asks for that many alternatives per token, under the raw distribution. ``stop`` ends the
    answer before the first occurrence of any of the strings. ``skip`` is text that the answer
    is expected to begin with and that is not part of it (see ``engines.text.heal``).
    ``logit_bias`` is added to the logits of the tokens that it names. Under a ``constraint``
    tokens that would leave it are never drawn, and end-of-text is drawn only where it is
    complete. The penalties come before the bias (``engines.penalties``). ``min_p`` keeps what is at
    least so likely, after temperature, as that share of the most likely token (arXiv 2407.01082).
    """

    max_tokens: int = 16
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    skip: str = ""
    top_logprobs: int = 0
    logit_bias: tuple[tuple[int, float], ...] = ()
    constraint: Constraint | None = None
    min_p: float = 0.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0


@dataclass(frozen=True, slots=True)
class Token:
    """One decoding step, exactly as it was sampled.

    ``logprob`` is under the distribution that was sampled from: after penalties, bias,
    constraint, top-k,
    temperature, min-p and top-p; 0.0 when there was no choice, because it was greedy or because the
    constraint left one token. ``raw_logprob`` is under softmax of the model's logits. Both are
    natural logarithms. ``text`` is what becomes visible with this token: it may be empty (half
    a character, a stop string in the making, an end-of-text token).
    ``stop`` is set on the last token only. A server that does not say its log-probabilities
    leaves both NaN. ``experts`` are those that predicted the whole answer, on the last token of
    a mixture of experts where the engine knows them all.
    """

    id: int
    text: str
    logprob: float
    raw_logprob: float
    top: tuple[tuple[int, float], ...] = ()
    stop: StopReason | None = None
    experts: Experts | None = None


class EngineError(RuntimeError):
    """The engine could not do what was asked; the message says what and why."""


class UnknownCheckpoint(EngineError, KeyError):
    """The checkpoint is not resident on this engine."""


class PromptTooLong(EngineError, ValueError):
    """Prompt and ``max_tokens`` do not fit the context."""


class InvalidConstraint(EngineError, ValueError):
    """The constraint cannot be compiled; the message says why."""


@runtime_checkable
class Measured(Protocol):
    """An engine whose checkpoints take memory of this machine, which is free again once they are
    unloaded."""

    def memory(self) -> int:
        """Bytes that all resident checkpoints take together."""
        ...


class Engine(Protocol):
    """What every engine does; ``tests/engines/conformance.py`` says it in tests.

    Implementations are safe for concurrent use from one event loop. Loading or unloading one
    checkpoint never disturbs requests on another.
    """

    @property
    def context_length(self) -> int:
        """Tokens of prompt and answer together."""
        ...

    @property
    def tolerance(self) -> float:
        """Mean absolute difference in nats that this engine's precision may put between its
        raw log-probabilities and those of the same weights in float32."""
        ...

    @property
    def guidance(self) -> frozenset[Guidance]:
        """What it follows: it knows how likely a token was when it was drawn, where it knows that
        at all."""
        ...

    def resident(self) -> frozenset[str]:
        """Ids of the checkpoints that can answer now."""
        ...

    async def load(self, checkpoint: Checkpoint, base: Checkpoint | None = None) -> None:
        """Make ``checkpoint`` resident. ``base`` is given exactly if it is an adapter.

        Loading what is resident already does nothing. Raises EngineError.
        """
        ...

    async def unload(self, checkpoint_id: str) -> None:
        """Free the checkpoint's memory. Unknown ids are ignored. The caller has drained it."""
        ...

    def generate(
        self, checkpoint_id: str, prompt_ids: Sequence[int], sampling: Sampling
    ) -> AsyncIterator[Token]:
        """Sample an answer, token by token; the last token has ``stop`` set.

        Closing the iterator (``aclose``) stops the computation within one step.
        Raises UnknownCheckpoint, PromptTooLong, InvalidConstraint, EngineError.
        """
        ...

    async def close(self) -> None:
        """Unload everything and end the engine's processes and threads."""
        ...
