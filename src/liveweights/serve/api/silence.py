"""Whether a drafted answer is shown, decided while it is drafted."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from liveweights.engines.protocol import Sampling, Token
from liveweights.weights.selection import Selection


@dataclass(slots=True)
class Silence:
    """Follows one draft. ``shown`` is None until it is decided: as soon as the answer cannot be
    sure enough any more, at its end, or after as many tokens as the selection reads."""

    selection: Selection
    temperature: float
    least: float
    """The confidence that it takes to be shown."""
    confidence: float = 0.0
    tokens: int = 0
    shown: bool | None = None

    @classmethod
    def begin(cls, selection: Selection | None, sampling: Sampling) -> Silence | None:
        """What may withhold an answer; None where the checkpoint has learnt no ``selection``, and
        shows all that it drafts. The draw that decides comes from the request's seed, if it has
        one."""
        if selection is None:
            return None
        draw = random.Random(None if sampling.seed is None else f"{sampling.seed}:silence")
        heat = sampling.temperature
        return cls(selection, heat, selection.least(draw.random(), heat))

    def weigh(self, token: Token) -> None:
        """Take the next token into account. Where a server does not say how likely its tokens
        are, everything is shown."""
        if self.shown is not None:
            return
        self.confidence += token.raw_logprob
        self.tokens += 1
        if math.isnan(self.confidence):
            self.shown = True
        elif self.confidence < self.least:
            self.shown = False
        elif token.stop is not None or self.tokens == self.selection.tokens:
            self.shown = True

    def logprob(self) -> float | None:
        """Log-probability of what was decided, given the tokens so far; None where nothing was,
        or nothing could be."""
        if self.shown is None or math.isnan(self.confidence):
            return None
        return self.selection.logprob(self.confidence, self.temperature, shown=self.shown)
