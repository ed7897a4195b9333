"""Log-probabilities as chat and responses tell them."""

from __future__ import annotations

from collections.abc import Sequence

from liveweights.engines.protocol import Token
from liveweights.serve.api.objects import TokenLogprob, TopLogprob
from liveweights.serve.api.tokenization import Tokenizer, token_bytes

LOWEST = -9999.0  # OpenAI's stand-in for minus infinity, which JSON cannot say


def told(tokenizer: Tokenizer, tokens: Sequence[Token]) -> list[TokenLogprob]:
    """Natural logarithms under the model's own distribution, for every sampled token."""
    found: list[TokenLogprob] = []
    for token in tokens:
        text, logprob, encoded = _entry(tokenizer, token.id, token.raw_logprob)
        top = [TopLogprob(*_entry(tokenizer, id, value)) for id, value in token.top]
        found.append(TokenLogprob(text, logprob, encoded, top))
    return found


def _entry(tokenizer: Tokenizer, id: int, logprob: float) -> tuple[str, float, list[int]]:
    encoded = token_bytes(tokenizer, id)
    return encoded.decode(errors="replace"), max(logprob, LOWEST), list(encoded)
