"""An answer while it is being generated, and the record that it becomes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from liveweights.engines.limits import list_guidance
from liveweights.engines.protocol import Engine, Sampling, StopReason, Token
from liveweights.meter.charges import assess, bound
from liveweights.meter.price_book import NOTHING_HELD, Held
from liveweights.record.generation import Counts, Generation, Surface
from liveweights.serve.api.caller import Caller
from liveweights.serve.api.identifiers import make_id
from liveweights.serve.api.silence import Silence
from liveweights.serve.api.syntax.protocol import Thought
from liveweights.serve.api.syntax.thinking import Split, Splitter
from liveweights.serve.router import Pin

INT64 = 2**63


@dataclass(slots=True, kw_only=True)
class Draft:
    engine: Engine
    """What computes it."""
    alias: str
    sold: str
    """The public name of its model, by which it is priced."""
    checkpoint: str
    endpoint: Surface
    prompt_ids: list[int]
    sampling: Sampling
    caller: Caller
    index: int = 0
    """Which choice of the answer it is."""
    first: bool = True
    """Whether it is its prompt's first choice: the one with which the prompt is counted."""
    siblings: list[Draft] = field(default_factory=list["Draft"], repr=False, compare=False)
    """All choices of its prompt."""
    reason: StopReason | None = None
    """Why it ended; None while it has not."""
    id: str = field(default_factory=lambda: make_id("gen"))
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.perf_counter)
    tokens: list[Token] = field(default_factory=list[Token])
    first_token_ms: float = 0.0
    may_be_silent: bool = False
    """Whether the user would rather see nothing than an answer that is not sure."""
    silence: Silence | None = None
    """What may withhold it, where the checkpoint has learnt when."""
    sent: int = 0
    """Tokens that were given to the client while it was generated."""
    held: Held = NOTHING_HELD
    """By what it is charged."""
    charged: int = 0
    """Nanos, once it has ended."""
    pending: bool = False
    """Whether it was sampled to its end, and is not recorded yet."""
    ended: bool = False
    splits: Callable[[], Splitter] | None = None
    """Makes what parts it from what is thought before it; None where nothing is."""
    seconds: float = math.inf
    """After how many it ends with its next token, as if it had been asked for no more."""
    late: bool = False
    """Whether it has ended so."""
    _asks: bool = field(init=False)
    """Whether the request is counted with it."""
    _splitter: Splitter | None = field(init=False)
    _thought: list[str] = field(init=False, default_factory=list[str])
    _said: list[str] = field(init=False, default_factory=list[str])

    def __post_init__(self) -> None:
        self._asks = self.index == 0
        self._splitter = None if self.splits is None else self.splits()

    def add(self, token: Token) -> Token:
        """Take the next token; what the user gets of it: where it makes the draft be given up, the
        end of an answer without text."""
        if not self.tokens:
            self.first_token_ms = self.elapsed_ms()
        if token.stop is None and self.elapsed_ms() > 1000 * self.seconds:
            self.late, token = True, replace(token, stop="length")
            self.sampling = replace(self.sampling, max_tokens=len(self.tokens) + 1)
        self.tokens.append(token)
        if self.silence is not None:
            self.silence.weigh(token)
        if self._splitter is not None:
            self._keep(self._splitter.push(token))
            if token.stop is not None:
                self._keep(self._splitter.finish())
        return replace(token, text="", stop="stop") if self.withheld else token

    @property
    def undecided(self) -> bool:
        """Whether it may still be withheld, so that nothing of it may be seen yet."""
        return self.silence is not None and self.silence.shown is None

    @property
    def withheld(self) -> bool:
        return self.silence is not None and self.silence.shown is False

    def seen(self) -> list[Token]:
        """The tokens that the user sees."""
        return [] if self.withheld else self.tokens

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self.started) * 1000

    def _keep(self, split: Sequence[Split]) -> None:
        for piece in split:
            kept = self._thought if isinstance(piece, Thought) else self._said
            kept.append(piece.text)

    @property
    def thought_tokens(self) -> int:
        """Those among ``tokens`` that were thought before the answer."""
        return 0 if self._splitter is None else self._splitter.tokens

    def text(self) -> str:
        """What the user sees, without what was thought before."""
        if self._splitter is not None:
            return "".join(self._said)
        return "".join(token.text for token in self.seen())

    def _selection(self) -> float | None:
        if self.silence is not None:
            return self.silence.logprob()
        return 0.0 if self.may_be_silent else None  # nothing could have withheld it

    def _experts(self) -> bytes | None:
        """Much larger than the rest of the row: kept only where it may be learnt from."""
        if not self.tokens or not self.caller.consent:
            return None
        experts = self.tokens[-1].experts
        return None if experts is None else experts.to_bytes()

    def used(self) -> int:
        """Tokens to charge for: none if nothing was sampled."""
        prompt = len(self.prompt_ids) if self.first else 0
        return prompt + len(self.tokens) if self.tokens else 0

    def counts(self) -> Counts:
        """What it used, as the record counts it."""
        prompt = len(self.prompt_ids) if self.first else 0
        output, thought = len(self.tokens), self.thought_tokens
        return Counts(prompt, output, reasoning=thought, requests=int(self._asks))

    def cost(self, *, broken_off: bool = False) -> int:
        """What it is charged, in nanos; ``broken_off``: by us."""
        unseen = self._selection() is not None and not self.text()
        counts = self.counts()._replace(sent=self.sent if broken_off else None)
        return assess(self.held, counts, withheld=unseen).amount

    def most_cost(self) -> int:
        """What it can be charged at most, in nanos."""
        used = self.counts()
        return bound(self.held, used.prompt, self.sampling.max_tokens, requests=used.requests)

    def _usage(self, broken_off: bool) -> dict[str, int]:
        """What the record could not count from the ids."""
        counts = self.counts()
        usage: dict[str, int] = {}
        if not self.first:
            usage |= {"prompt_tokens": counts.prompt, "completion_tokens": counts.output}
        if counts.reasoning:
            usage["reasoning_tokens"] = counts.reasoning
        if not counts.requests:
            usage["requests"] = 0
        if broken_off:
            usage["sent_tokens"] = self.sent
        return usage

    def stand_in(self) -> None:
        """All choices end now: be the first, where that has not begun and so is in no record."""
        first = next((one for one in self.siblings if one.first), None)
        begun = bool(self.tokens) and not self.ended
        if begun and first is not None and not (first.tokens or first.ended):
            self.first, first.first = True, False
            self._asks, first._asks = first._asks, self._asks

    def finish(self, reason: str, *, broken_off: bool = False) -> Generation:
        """The record. ``reason`` is ``stop``, ``length``, ``cancelled`` or ``error``;
        ``broken_off``: by us, so that the client has no more than what was sent."""
        sampling, caller = self.sampling, self.caller
        self.ended, self.pending = True, False
        if self._splitter is not None:
            self._keep(self._splitter.finish())  # nothing more, where it ended by itself
        self.charged = self.cost(broken_off=broken_off)
        return Generation(
            id=self.id,
            created_at=self.created_at,
            alias=self.alias,
            checkpoint=self.checkpoint,
            endpoint=self.endpoint,
            prompt_ids=self.prompt_ids,
            output_ids=[token.id for token in self.tokens],
            logprobs=_known([token.logprob for token in self.tokens]),
            raw_logprobs=_known([token.raw_logprob for token in self.tokens]),
            output=self.text(),
            finish_reason=reason,
            temperature=sampling.temperature,
            top_p=sampling.top_p,
            seed=sampling.seed,
            max_tokens=sampling.max_tokens,
            tenant=caller.tenant,
            key=caller.recorded_key,
            user=caller.user,
            session=caller.session,
            surface=caller.surface,
            language=caller.language,
            consent=caller.consent,
            healed=sampling.skip,
            first_token_ms=self.first_token_ms,
            total_ms=self.elapsed_ms(),
            metadata=caller.metadata,
            usage=self._usage(broken_off),
            selection=self._selection(),
            experts=self._experts(),
            reasoning="".join(self._thought),
            shaping=_shaping(sampling),
        )


def _shaping(sampling: Sampling) -> dict[str, list[str]]:
    guided_by: list[str] = [*list_guidance(sampling)]
    return {"stop": list(sampling.stop)} | ({"guided_by": guided_by} if guided_by else {})


def _known(values: list[float]) -> list[float]:
    """Nothing where an engine could not say them all."""
    return [] if any(map(math.isnan, values)) else values


def make_drafts(
    pin: Pin,
    endpoint: Surface,
    prompts: Sequence[tuple[list[int], Sampling]],
    caller: Caller,
    choices: int,
    *,
    engine: Engine,
    silence: bool = False,
    splits: Callable[[], Splitter] | None = None,
) -> list[Draft]:
    """``choices`` drafts for each prompt; those of one prompt get seeds that follow each other.

    With ``silence`` each may be withheld, if the checkpoint has learnt when.
    """
    drafts: list[Draft] = []
    for prompt_ids, sampling in prompts:
        siblings: list[Draft] = []
        for number in range(choices):
            seed = sampling.seed
            if seed is not None:
                seed = (seed + number + INT64) % (2 * INT64) - INT64
            how = replace(sampling, seed=seed)
            siblings.append(
                Draft(
                    engine=engine,
                    alias=pin.alias,
                    sold=pin.sold,
                    checkpoint=pin.checkpoint,
                    endpoint=endpoint,
                    prompt_ids=prompt_ids,
                    sampling=how,
                    caller=caller,
                    index=len(drafts) + number,
                    first=number == 0,
                    may_be_silent=silence,
                    silence=Silence.begin(pin.selection, how) if silence else None,
                    splits=splits,
                    siblings=siblings,
                )
            )
        drafts += siblings
    return drafts
