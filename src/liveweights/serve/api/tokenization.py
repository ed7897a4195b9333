"""What the API needs of a model's tokenizer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from liveweights.weights import byte_level
from liveweights.weights.byte_level import is_byte_level

# Longer texts are tokenized off the event loop: a megabyte takes about a second.
INLINE_CHARACTERS = 16_384
_BYTE = re.compile("<0x([0-9A-Fa-f]{2})>")
"""How SentencePiece spells a byte that no token of its own stands for."""
_SPACE = "\u2581"
"""How SentencePiece spells a space."""


class Tokenizer(Protocol):
    """The part of ``transformers.PreTrainedTokenizerBase`` that is used here."""

    chat_template: Any

    def __len__(self) -> int: ...

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]: ...

    def decode(self, token_ids: Sequence[int], *, skip_special_tokens: bool = False) -> str: ...

    def get_vocab(self) -> dict[str, int]: ...

    def convert_ids_to_tokens(self, ids: int) -> str | None: ...


def token_bytes(tokenizer: Tokenizer, token: int) -> bytes:
    """One token on its own; it may be part of a character. Joined, those of an answer are its
    text, where a tokenizer spells bytes or white space (as GPT-2's and SentencePiece's do)."""
    spelled = tokenizer.convert_ids_to_tokens(token)
    if spelled is None:
        return b""
    if is_byte_level(tokenizer):
        return byte_level.token_bytes(spelled)
    if byte := _BYTE.fullmatch(spelled):
        return bytes([int(byte[1], 16)])
    if _SPACE in spelled:
        return spelled.replace(_SPACE, " ").encode()
    return tokenizer.decode([token], skip_special_tokens=False).encode()


def token_text(tokenizer: Tokenizer, token: int) -> str:
    """One token on its own; U+FFFD stands for what is not a whole character."""
    return token_bytes(tokenizer, token).decode(errors="replace")
