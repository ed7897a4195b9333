from __future__ import annotations

import asyncio

from liveweights.serve.api.encoder import Encoder
from liveweights.serve.api.infill import Infill, find_infill

from .doubles import make_tokenizer


def test_finds_the_tokens_of_a_model_that_has_them() -> None:
    tokenizer = make_tokenizer(infill=True)
    infill = find_infill(tokenizer)
    assert infill is not None
    ids = (infill.prefix, infill.suffix, infill.middle)
    assert tokenizer.convert_ids_to_tokens(list(ids)) == [
        "<fim_prefix>",
        "<fim_suffix>",
        "<fim_middle>",
    ]
    assert find_infill(make_tokenizer()) is None


def test_puts_prefix_and_suffix_before_the_middle() -> None:
    encoder = Encoder(make_tokenizer(), 512)
    ids = asyncio.run(Infill(1000, 1001, 1002).encode(encoder, "a", "bc", "t"))
    a, b, c = make_tokenizer().encode("abc", add_special_tokens=False)
    assert ids == [1000, a, 1001, b, c, 1002]
