"""Shapes of configs and digests of vocabularies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.learn.families import make_config

from liveweights.catalog.fingerprint import (
    Shape,
    digest_vocabulary,
    is_of_type,
    read_shape,
    read_vocabulary,
    read_vocabulary_of_gguf,
    shape_of,
    shape_of_gguf,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
METADATA = st.sampled_from(
    ["general.architecture", "x.block_count", "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"]
)
TOKENS = st.dictionaries(st.text(min_size=1), st.integers(0, 1 << 20), min_size=1)


@pytest.mark.parametrize(
    ("family", "expected"),
    [
        ("llama", ("llama", 2, 32, 264, None)),
        ("gpt2", ("gpt2", 2, 32, 264, None)),
        ("mixtral", ("mixtral", 2, 32, 264, 4)),
        ("deepseek_v3", ("deepseek_v3", 2, 32, 264, 4)),
        ("gpt_oss", ("gpt_oss", 2, 32, 264, 4)),
        ("qwen3_5_moe", ("qwen3_5_moe", 2, 32, 264, 4)),
        ("minimax_m2", ("minimax_m2", 2, 32, 264, 4)),
    ],
)
def test_the_shape_of_a_config_that_transformers_wrote(
    family: str, expected: tuple[object, ...], tmp_path: Path
) -> None:
    make_config(family).save_pretrained(tmp_path)
    shape = read_shape(tmp_path)
    assert shape is not None
    assert (shape.model_type, shape.layers, shape.hidden, shape.vocab, shape.experts) == expected


def test_the_language_model_of_several_and_alone_are_alike() -> None:
    text = {"num_hidden_layers": 4, "hidden_size": 8, "vocab_size": 16}
    whole = shape_of({"model_type": "qwen3_5", "text_config": text, "hidden_size": 99})
    alone = shape_of({"model_type": "qwen3_5_text", **text})
    expected = Shape(model_type="qwen3_5", layers=4, hidden=8, vocab=16, experts=None)
    assert whole == alone == expected


@given(
    st.dictionaries(st.sampled_from(["model_type", "vocab_size", "text_config", "n_layer"]), JSON)
)
def test_no_config_is_too_strange(config: dict[str, Any]) -> None:
    shape = shape_of(config)
    if shape is not None:
        assert shape.model_type
        assert all(value is None or value > 0 for value in (shape.layers, shape.vocab))


def write_tokenizer(folder: Path, value: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(value))
    return folder


@given(vocab=TOKENS, added=TOKENS)
def test_added_tokens_do_not_change_a_vocabulary(
    tmp_path_factory: pytest.TempPathFactory, vocab: dict[str, int], added: dict[str, int]
) -> None:
    added = {token: id for token, id in added.items() if token not in vocab}
    listed = [{"content": token, "id": id} for token, id in added.items()]
    folder = tmp_path_factory.mktemp("tokenizers")
    plain = write_tokenizer(folder / "a", {"model": {"vocab": vocab}})
    more = write_tokenizer(
        folder / "b", {"model": {"vocab": {**vocab, **added}}, "added_tokens": listed}
    )
    expected = digest_vocabulary((id, token) for token, id in vocab.items())
    assert read_vocabulary(plain) == read_vocabulary(more) == expected


@given(vocab=TOKENS, data=st.data())
def test_any_other_vocabulary_is_another(vocab: dict[str, int], data: st.DataObject) -> None:
    token = data.draw(st.sampled_from(sorted(vocab)))
    other = {**vocab, token: vocab[token] + 1}
    assert digest_vocabulary((id, one) for one, id in vocab.items()) != digest_vocabulary(
        (id, one) for one, id in other.items()
    )


def test_a_table_of_unigrams_is_read_by_its_order(tmp_path: Path) -> None:
    folder = write_tokenizer(tmp_path / "a", {"model": {"vocab": [["<unk>", 0.0], ["a", -1.5]]}})
    assert read_vocabulary(folder) == digest_vocabulary([(0, "<unk>"), (1, "a")])


@given(JSON)
def test_no_tokenizer_file_is_too_strange(
    tmp_path_factory: pytest.TempPathFactory, value: object
) -> None:
    folder = tmp_path_factory.mktemp("strange")
    for whole in (value, {"model": value}, {"model": {"vocab": value}, "added_tokens": value}):
        read_vocabulary(write_tokenizer(folder, whole))


def test_a_file_that_nests_without_end_is_no_vocabulary(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("[" * 100_000)
    (tmp_path / "config.json").write_text('{"a":' * 100_000)
    assert read_vocabulary(tmp_path) is None
    assert read_shape(tmp_path) is None


def test_the_shape_of_a_gguf_file_counts_what_a_config_counts() -> None:
    shape = shape_of_gguf(
        {
            "general.architecture": "glm4moe",
            "glm4moe.block_count": 93,
            "glm4moe.nextn_predict_layers": 1,
            "glm4moe.embedding_length": 5120,
            "glm4moe.expert_count": 160,
            "tokenizer.ggml.tokens": ["a"] * 10,
        }
    )
    assert shape == Shape(
        model_type="glm4moe", layers=92, hidden=5120, vocab=10, experts=160, gguf=True
    )


@pytest.mark.parametrize(
    ("architecture", "model_type", "of_it"),
    [
        ("qwen3moe", "qwen3_moe", True),
        ("gpt-oss", "gpt_oss", True),
        ("minimax-m2", "minimax_m2", True),
        ("gemma3", "gemma3_text", True),
        ("deepseek2", "deepseek_v3", True),
        ("deepseek2", "kimi_k25", True),
        ("llama", "mistral", True),
        ("llama", "llama", True),
        ("llama", "qwen2", False),
        ("qwen3", "qwen3_moe", False),
        ("deepseek_v3", "deepseek_v3", False),
    ],
)
def test_llama_cpp_s_names_of_model_types(architecture: str, model_type: str, of_it: bool) -> None:
    gguf = Shape(model_type=architecture, layers=1, hidden=1, vocab=1, experts=None, gguf=True)
    assert is_of_type(gguf, model_type) is of_it


@given(st.dictionaries(METADATA, JSON))
def test_no_metadata_is_too_strange(metadata: dict[str, Any]) -> None:
    shape_of_gguf(metadata)
    read_vocabulary_of_gguf(metadata)
