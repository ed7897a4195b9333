"""A token's own bytes: joined they are the text, whoever spells them."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import decoders, models, normalizers
from transformers import PreTrainedTokenizerFast

from liveweights.serve.api.tokenization import token_bytes, token_text

from .doubles import make_tokenizer

TEXTS = st.text(alphabet="ab 0é你😊ש\n")


def joined(tokenizer: Any, text: str) -> bytes:
    ids = tokenizer.encode(text, add_special_tokens=False)
    return b"".join(token_bytes(tokenizer, id) for id in ids)


def sentencepiece() -> Any:
    """As Llama 2 and Gemma spell: a mark for spaces, and bytes for what has no token."""
    pieces = ["<unk>", "\u2581", "a", "b", *(f"<0x{byte:02X}>" for byte in range(256))]
    backend = Backend(
        models.BPE({piece: id for id, piece in enumerate(pieces)}, [], byte_fallback=True)
    )
    backend.normalizer = normalizers.Replace(" ", "\u2581")
    backend.decoder = decoders.Sequence(
        [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return PreTrainedTokenizerFast(tokenizer_object=backend)


@given(text=TEXTS)
def test_bytes_join_to_the_text(text: str) -> None:
    for tokenizer in (make_tokenizer(), sentencepiece()):
        assert joined(tokenizer, text) == text.encode()


def test_special_tokens_are_their_own_text() -> None:
    tokenizer = make_tokenizer()
    (end,) = tokenizer.encode("<|im_end|>", add_special_tokens=False)
    assert token_bytes(tokenizer, end) == b"<|im_end|>"


def test_part_of_a_character_has_bytes_and_no_text() -> None:
    tokenizer = make_tokenizer()
    first, second = tokenizer.encode("é", add_special_tokens=False)
    assert token_bytes(tokenizer, first) + token_bytes(tokenizer, second) == "é".encode()
    assert token_text(tokenizer, first) == "\ufffd"
