from __future__ import annotations

import copy

from tokenizers import AddedToken, processors

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
    ids = Infill(1000, 1001, 1002).read(encoder, "a", "bc")
    a, b, c = make_tokenizer().encode("abc", add_special_tokens=False)
    assert ids == [1000, a, 1001, b, c, 1002]


def test_begins_as_every_text_of_the_model_does() -> None:
    """As Code Llama, DeepSeek and CodeGemma were trained: their first token is that of a text."""
    tokenizer = copy.deepcopy(make_tokenizer(infill=True))
    tokenizer.add_special_tokens({"bos_token": AddedToken("<s>", special=True)})
    begin = tokenizer.convert_tokens_to_ids("<s>")
    assert isinstance(begin, int)
    single = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])
    tokenizer.backend_tokenizer.post_processor = single
    infill = find_infill(tokenizer)
    assert infill is not None
    encoder = Encoder(tokenizer, 512)
    ids = infill.read(encoder, "a", "b")
    assert tokenizer.decode(ids) == "<s><fim_prefix>a<fim_suffix>b<fim_middle>"
    written = "<fim_prefix>a<fim_suffix>b<fim_middle>"
    assert ids == encoder.read(written, special=True)
