"""Tokenizers of SentencePiece's tokens, as a GGUF's metadata has them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.weights.gguf_files import train_pieces

from liveweights.engines.llama.parity import lines
from liveweights.engines.text import TextStream
from liveweights.weights.gguf_pieces import SPACE, rank_merges
from liveweights.weights.gguf_tokenizer import check_tokenizer, make_tokenizer
from liveweights.weights.vocabulary import spell_tokens


@pytest.fixture(scope="module")
def facts() -> dict[str, Any]:
    return train_pieces()


@pytest.fixture(scope="module")
def tokenizer(facts: dict[str, Any]) -> Any:
    return make_tokenizer(facts)


def merge_by_score(text: str, score_of: dict[str, float]) -> list[str]:
    """As llama.cpp: of all neighbours that are a token together those of the highest score, of
    equal ones the leftmost, until there are none."""
    parts = list(text)
    while True:
        pairs = [
            (-score_of[left + right], place)
            for place, (left, right) in enumerate(pairwise(parts))
            if left + right in score_of
        ]
        if not pairs:
            return parts
        _, place = min(pairs)
        parts[place : place + 2] = [parts[place] + parts[place + 1]]


TEXTS = st.text("abcdefint_() .=#x\n", max_size=40)


@given(text=TEXTS)
def test_characters_are_put_together_by_score(
    text: str, facts: dict[str, Any], tokenizer: Any
) -> None:
    tokens, scores = facts["tokenizer.ggml.tokens"], facts["tokenizer.ggml.scores"]
    expected: list[str] = []
    for number, piece in enumerate(text.split("    ")):  # which is a token by itself
        expected += ["    "] if number else []
        if piece:
            spelled = SPACE + piece.replace(" ", SPACE)
            expected += merge_by_score(spelled, dict(zip(tokens, scores, strict=True)))
    known = {*tokens}
    spelled_out = [
        part
        for one in expected
        for part in ([one] if one in known else [f"<0x{byte:02X}>" for byte in one.encode()])
    ]
    assert tokenizer.tokenize(text) == spelled_out


def test_every_text_is_whole_again_after_its_space(tokenizer: Any) -> None:
    stream_of = {
        id: piece.decode(errors="replace") for id, piece in spell_tokens(tokenizer).items()
    }
    for line in lines():
        ids = tokenizer.encode(line, add_special_tokens=False)
        text = tokenizer.decode(ids)
        assert text.replace(" ", "") == line.replace(" ", "")
        assert set(ids) <= stream_of.keys()


def test_an_answer_goes_on_with_its_own_space(tokenizer: Any) -> None:
    ids = tokenizer.encode("self é😀", add_special_tokens=False)
    stream = TextStream(tokenizer)
    assert "".join([*(stream.push(id) for id in ids), stream.finish()]) == " self é😀"


def test_special_tokens_stand_for_themselves(tokenizer: Any) -> None:
    assert tokenizer.encode("a")[0] == tokenizer.bos_token_id == 1
    assert tokenizer.encode("<|im_end|>", add_special_tokens=False) == [2]
    assert tokenizer.unk_token == "<unk>"
    assert tokenizer.encode("<unk>", add_special_tokens=False) == [0]


def test_spaces_behind_a_mark_are_left_out_in_some_models(facts: dict[str, Any]) -> None:
    def marked(name: str) -> list[int]:
        tokenizer = make_tokenizer({**facts, "general.name": name})
        return tokenizer.encode("<|im_end|> \n a", add_special_tokens=False)

    plain = make_tokenizer(facts)
    assert marked("Phi-3 mini") == plain.encode("<|im_end|>a", add_special_tokens=False)
    assert marked("other") != marked("Phi-3 mini")


def test_merges_are_every_way_to_make_a_token() -> None:
    tokens, scores = ["a", "b", "ab", "aba", "ba"], [0.0, 0.0, -1.0, -3.0, -2.0]
    assert list(rank_merges(tokens, scores)) == [
        ("a", "b"), ("b", "a"), ("a", "ba"), ("ab", "a"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"scores": None}, "no tokenizer.ggml.scores"),
        ({"scores": [1.0]}, "scores of 1 tokens, and"),
        ({"scores": ["a"]}, "no tokenizer.ggml.scores"),
        ({"scores": float("nan")}, "scores that are no numbers"),
        ({"tokens": "twice"}, "a token twice"),
        ({"tokens": "long"}, "a token of 1025 characters"),
        ({"tokens": "no byte"}, "no token <0x0A>"),
    ],
)
def test_metadata_that_is_no_tokenizer_is_refused(
    changes: dict[str, Any], why: str, facts: dict[str, Any]
) -> None:
    assert check_tokenizer(facts) is None
    tokens = list(facts["tokenizer.ggml.tokens"])
    changed = dict(changes)
    if changes.get("tokens") == "twice":
        changed["tokens"] = [*tokens[:-1], tokens[-2]]
    elif changes.get("tokens") == "long":
        changed["tokens"] = [*tokens[:-1], "a" * 1025]
    elif changes.get("tokens") == "no byte":
        changed["tokens"] = [one.replace("<0x0A>", "<0x0a>") for one in tokens]
    elif isinstance(changes["scores"], float):
        changed["scores"] = [changes["scores"]] * len(tokens)
    said = facts | {f"tokenizer.ggml.{name}": value for name, value in changed.items()}
    assert why in (check_tokenizer(said) or "")
