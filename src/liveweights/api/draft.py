"""An answer while it is being generated, and the record that it becomes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime

from liveweights.api.caller import Caller
from liveweights.api.identifiers import make_id
from liveweights.engines.protocol import Sampling, Token
from liveweights.record.generation import Generation, Surface


@dataclass(slots=True, kw_only=True)
class Draft:
    alias: str
    checkpoint: str
    endpoint: Surface
    prompt_ids: list[int]
    sampling: Sampling
    caller: Caller
    id: str = field(default_factory=lambda: make_id("gen"))
    created_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: float = field(default_factory=time.perf_counter)
    tokens: list[Token] = field(default_factory=list[Token])
    first_token_ms: float = 0.0

    def add(self, token: Token) -> None:
        if not self.tokens:
            self.first_token_ms = self.elapsed_ms()
        self.tokens.append(token)

    def elapsed_ms(self) -> float:
        return (time.perf_counter() - self.started) * 1000

    def text(self) -> str:
        """What the user sees."""
        return "".join(token.text for token in self.tokens)

    def usage(self) -> dict[str, int]:
        prompt, completion = len(self.prompt_ids), len(self.tokens)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }

    def finish(self, reason: str) -> Generation:
        """The record. ``reason`` is ``stop``, ``length``, ``cancelled`` or ``error``."""
        sampling, caller = self.sampling, self.caller
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
            user=caller.user,
            session=caller.session,
            surface=caller.surface,
            language=caller.language,
            consent=caller.consent,
            healed=sampling.skip,
            first_token_ms=self.first_token_ms,
            total_ms=self.elapsed_ms(),
            metadata=caller.metadata,
        )


def _known(values: list[float]) -> list[float]:
    """Nothing where an engine could not say them all."""
    return [] if any(map(math.isnan, values)) else values
