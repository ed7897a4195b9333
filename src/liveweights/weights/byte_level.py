"""GPT-2's spelling of bytes as printable characters, in which byte-level BPE tokens are written.

Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2.
"""

from __future__ import annotations

from typing import Any


def _spell() -> dict[str, int]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    spelling = {chr(byte): byte for byte in printable}
    hidden = (byte for byte in range(256) if byte not in printable)
    spelling.update({chr(256 + i): byte for i, byte in enumerate(hidden)})
    return spelling


BYTE_OF = _spell()
"""The byte that each of 256 characters stands for."""


def token_bytes(token: str) -> bytes:
    """The bytes of a token; one with characters outside the alphabet is plain text."""
    try:
        return bytes([BYTE_OF[character] for character in token])
    except KeyError:
        return token.encode()


def ends_within_character(token: str) -> bool:
    """Whether a token's bytes are no whole characters of UTF-8."""
    if any(character not in BYTE_OF for character in token):
        return False
    try:
        token_bytes(token).decode()
    except UnicodeDecodeError:
        return True
    return False


def is_byte_level(tokenizer: Any) -> bool:
    """Whether a tokenizer's decoding is nothing but joining ``token_bytes``."""
    backend: Any = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and type(backend.decoder).__name__ == "ByteLevel"
