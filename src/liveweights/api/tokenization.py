"""What the API needs of a model's tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

# Longer texts are tokenized off the event loop: a megabyte takes about a second.
INLINE_CHARACTERS = 16_384


class Tokenizer(Protocol):
    """The part of ``transformers.PreTrainedTokenizerBase`` that is used here."""

    chat_template: Any

    def __len__(self) -> int: ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]: ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str: ...

    def get_vocab(self) -> dict[str, int]: ...


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """One token on its own; U+FFFD stands for what is not a whole character."""
    return tokenizer.decode([token], skip_special_tokens=False)
