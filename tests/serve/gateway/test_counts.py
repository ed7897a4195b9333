from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from liveweights.serve.gateway.counts import (
    READ,
    UnreadableTokenizer,
    asked_text,
    count_bytes,
    fill,
    find_counter,
    read_prompt_tokens,
    texts,
)


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model's folder with a tokenizer that knows one word."""
    tokenizer: Any = Tokenizer(models.WordLevel({"yes": 0, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path_factory.mktemp("model")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


@given(st.text())
def test_four_bytes_are_a_token(text: str) -> None:
    size = len(text.encode("utf-8", "surrogatepass"))
    assert 4 * count_bytes(text) - size in range(4)


def test_a_tokenizer_counts(words: Path) -> None:
    for path in (words, words / "tokenizer.json"):
        assert find_counter(str(path))("yes no yes") == 3


def test_a_long_text_counts_in_proportion(words: Path) -> None:
    count = find_counter(str(words))
    assert count("yes " * READ) == READ
    assert count("yes " * (READ // 4)) == READ // 4


@pytest.mark.parametrize("content", [None, "{}", "no JSON"])
def test_a_tokenizer_that_cannot_be_read_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(
        UnreadableTokenizer, match=r"gateway.tokenizer: .*tokenizer.json cannot be read"
    ):
        find_counter(str(tmp_path))


def test_without_a_tokenizer_bytes_count() -> None:
    assert find_counter("") is count_bytes


def test_only_what_is_missing_is_estimated() -> None:
    counted = {"prompt_tokens": 7, "completion_tokens": 6}
    assert fill(counted, prompt_tokens=lambda: 1, completion_tokens=lambda: 2) == counted
    assert fill({"prompt_tokens": 7}, prompt_tokens=lambda: 1, completion_tokens=lambda: 2) == {
        "prompt_tokens": 7,
        "completion_tokens": 2,
        "estimated": 1,
    }


def test_what_was_asked_is_its_words() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 9000}}
    asked = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Hello"}, picture]},
        ],
        "tools": [{"type": "function"}],
    }
    found = asked_text(json.dumps(asked))
    assert found.split("\n") == [
        *("system", "Be brief.", "user", "text", "Hello", "image_url"),
        '[{"type":"function"}]',
    ]


def test_no_json_is_too_deep() -> None:
    deep: Any = "a"
    for _ in range(20_000):
        deep = [deep]
    assert list(texts([deep, {"x": ["b", "c"]}])) == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("answer", "tokens"),
    [
        (b'{"data": [], "usage": {"prompt_tokens": 8, "total_tokens": 8}}', 8),
        (b'{"usage": {"prompt_tokens": -1}}', None),
        (b'{"usage": {"prompt_tokens": 1e99}}', None),
        (b'{"data": []}', None),
        (b"\xff", None),
        (b"[" * 9999, None),
    ],
)
def test_what_an_upstream_counted_of_a_prompt(answer: bytes, tokens: int | None) -> None:
    assert read_prompt_tokens(answer) == tokens
