"""Tokenizers made of a GGUF's metadata, held against those that the files were made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.weights.gguf_files import SPECIAL, TEMPLATE, train_tokenizer, write_gguf

from liveweights.engines.llama.parity import lines
from liveweights.weights.gguf_header import read_header
from liveweights.weights.gguf_tokenizer import SPLITTINGS, check_tokenizer, make_tokenizer
from liveweights.weights.tensors import BrokenFile


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    file = write_gguf(tmp_path_factory.mktemp("gguf") / "a.gguf", kind="f16")
    return dict(read_header(file).metadata)


@pytest.mark.parametrize("pre", ["gpt-2", "smollm", "llama-bpe", "qwen2"])
def test_texts_are_cut_as_by_the_makers_tokenizer(pre: str, tmp_path: Path) -> None:
    theirs = train_tokenizer(pre)
    file = write_gguf(tmp_path / "a.gguf", kind="f16", pre=pre)
    ours = make_tokenizer(read_header(file).metadata)
    for line in lines():
        expected = theirs.encode(line, add_special_tokens=False).ids
        assert ours.encode(line, add_special_tokens=False) == expected
        assert ours.decode(expected) == theirs.decode(expected, skip_special_tokens=False)


@pytest.mark.parametrize("pre", SPLITTINGS)
def test_every_text_is_whole_again_however_it_is_cut(pre: str, facts: dict[str, Any]) -> None:
    tokenizer = make_tokenizer(facts | {"tokenizer.ggml.pre": pre})
    for line in lines():
        assert tokenizer.decode(tokenizer.encode(line, add_special_tokens=False)) == line


def test_special_tokens_and_the_template_are_the_files(facts: dict[str, Any]) -> None:
    tokenizer = make_tokenizer(facts)
    assert (tokenizer.bos_token, tokenizer.eos_token) == SPECIAL[1:]
    assert tokenizer.encode("<|im_start|>x<|im_end|>")[::2] == [1, 2]
    assert tokenizer.decode([2, 0], skip_special_tokens=True) == ""
    chat = [{"role": "user", "content": "hi"}]
    assert tokenizer.apply_chat_template(chat, tokenize=False) == (
        "<|im_start|>user\nhi<|im_end|>\n"
    )
    named = {"tokenizer.chat_template.tool_use": "{{ tools }}"}
    assert make_tokenizer(facts | named).chat_template == {
        "default": TEMPLATE,
        "tool_use": "{{ tools }}",
    }


def test_a_normal_token_that_stands_for_none_is_cut_as_before(facts: dict[str, Any]) -> None:
    tokens = facts["tokenizer.ggml.tokens"]
    changed = make_tokenizer(facts | {"tokenizer.ggml.padding_token_id": tokens.index("e")})
    assert changed.pad_token is None
    tokenizer = make_tokenizer(facts)
    assert [changed.encode(line) for line in lines()] == [
        tokenizer.encode(line) for line in lines()
    ]


@pytest.mark.parametrize(
    ("said", "pre", "begins"),
    [(True, "smollm", True), (False, "llama-bpe", False), (None, "llama-bpe", True),
     (None, "qwen2", False)],
)  # fmt: skip
def test_texts_begin_as_the_file_or_llama_cpp_says(
    said: bool | None, pre: str, begins: bool, facts: dict[str, Any]
) -> None:
    facts = facts | {"tokenizer.ggml.pre": pre, "tokenizer.ggml.add_bos_token": said}
    if said is None:
        del facts["tokenizer.ggml.add_bos_token"]
    assert (make_tokenizer(facts).encode("a")[0] == 1) == begins


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"model": "bert"}, "of the kind 'bert'"),
        ({"model": "llama"}, "no tokenizer.ggml.scores"),
        ({"pre": "bloom"}, "the pre-tokenizer 'bloom'; made are"),
        ({"token_type": [1, 2]}, "types of 2 tokens, and 400 tokens"),
        ({"token_type": [1.0] * 400}, "no tokenizer.ggml.tokens and token_type"),
        ({"merges": None}, "no tokenizer.ggml.merges"),
        ({"eos_token_id": 400}, "400 tokens, and 400 for tokenizer.ggml.eos_token_id"),
        ({"bos_token_id": True}, "True for tokenizer.ggml.bos_token_id"),
    ],
)
def test_metadata_that_is_no_tokenizer_is_refused(
    changes: dict[str, Any], why: str, facts: dict[str, Any]
) -> None:
    assert check_tokenizer(facts) is None
    changed = facts | {f"tokenizer.ggml.{name}": value for name, value in changes.items()}
    assert why in (check_tokenizer(changed) or "")


def test_merges_of_other_tokens_are_refused(facts: dict[str, Any]) -> None:
    with pytest.raises(BrokenFile, match="do not fit together"):
        make_tokenizer(facts | {"tokenizer.ggml.merges": ["nowhere here"]})
