from __future__ import annotations

from typing import Any

import pytest
from tests.record.rows import make_generation
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import AddedToken, PreTrainedTokenizerFast

from liveweights.learn.continuations import continue_text
from liveweights.learn.rows import written_ids

PIECES = ("<unk>", "▁", "▁x", "x", ")", "s", "e", "l", "f", ".", "▁s", "\n", "<", ">", "/")
LLAMA: Any = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])


def sentencepiece(way: str) -> Any:
    """Whole tokens, and a space before any text in one of the ways of hubs' folders."""
    backend: Any = Tokenizer(models.Unigram([(piece, -1.0) for piece in PIECES], 0))
    if way == "normalizer":
        backend.normalizer = LLAMA
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=way)
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=backend)
    tokenizer.add_special_tokens({"eos_token": AddedToken("</s>", special=True, normalized=False)})
    return tokenizer


@pytest.mark.parametrize("way", ["normalizer", "always", "first"])
def test_what_goes_on_begins_with_no_space_of_the_tokenizers(way: str) -> None:
    tokenizer = sentencepiece(way)
    encode = continue_text(tokenizer)
    generation = make_generation("g", healed="")

    def pieces(ids: list[int]) -> list[str]:
        return tokenizer.convert_ids_to_tokens(ids)

    assert pieces(tokenizer("x)", add_special_tokens=False).input_ids) == ["▁x", ")"]
    assert pieces(written_ids(generation, "x)", encode)) == ["x", ")"]
    assert pieces(written_ids(generation, " x)", encode)) == ["▁x", ")"]
    assert pieces(written_ids(make_generation("h", healed=" "), "x)", encode)) == ["▁x", ")"]
    assert pieces(encode("\n")) == ["\n"]
    assert pieces(encode("x</s>")) == ["x", "<", "/", "s", ">"]


def test_other_tokenizers_encode_as_they_do() -> None:
    backend: Any = Tokenizer(models.Unigram([(piece, -1.0) for piece in PIECES], 0))
    tokenizer: Any = PreTrainedTokenizerFast(tokenizer_object=backend)
    assert continue_text(tokenizer)("x)") == tokenizer("x)").input_ids
