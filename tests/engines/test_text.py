"""Streaming text, on the real tokenizer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models
from transformers import PreTrainedTokenizerFast

from liveweights.engines.text import TextStream, heal
from liveweights.engines.text import _WindowDecoder as WindowDecoder  # pyright: ignore
from liveweights.weights.gguf_pieces import BYTE_TOKENS

pytestmark = pytest.mark.model

TEXTS = st.text(alphabet=st.sampled_from("ab \n\t:()0é你😀\u200d\ufffd"), max_size=30)


def pieces(tokenizer: Any, ids: list[int], stop: tuple[str, ...] = (), skip: str = "") -> list[str]:
    stream = TextStream(tokenizer, stop, skip)
    shown: list[str] = []
    for token in ids:
        shown.append(stream.push(token))
        if stream.stopped:
            return shown
    return [*shown, stream.finish()]


def visible(text: str, stop: tuple[str, ...], skip: str) -> str:
    """What a user should see of a whole answer, said without streaming."""
    text = text.removeprefix(skip)
    # The stop string that is complete first ends the answer; of several, the longest.
    hits = [(text.index(s) + len(s), text.index(s)) for s in stop if s in text]
    return text[: min(hits)[1]] if hits else text


@settings(deadline=None)
@given(ids=st.lists(st.integers(0, 49151), max_size=30))
def test_pieces_of_any_tokens_join_to_the_decoded_text(tokenizer: Any, ids: list[int]) -> None:
    shown, whole = "".join(pieces(tokenizer, ids)), tokenizer.decode(ids, skip_special_tokens=True)
    assert whole.startswith(shown)
    assert whole[len(shown) :] in ("", "\ufffd")  # half a character at the end is not shown


@settings(deadline=None)
@given(text=TEXTS, emoji=st.sampled_from("😊שé你"), cut=st.integers(1, 8))
def test_half_a_character_is_not_shown(tokenizer: Any, text: str, emoji: str, cut: int) -> None:
    before, ids = tokenizer.encode(text), tokenizer.encode(text + emoji * 3)
    kept = "".join(pieces(tokenizer, ids[: max(len(before), len(ids) - cut)]))
    assert (text + emoji * 3).startswith(kept)


@settings(deadline=None)
@given(text=TEXTS)
def test_whole_characters_only(tokenizer: Any, text: str) -> None:
    shown = ""
    for piece in pieces(tokenizer, tokenizer.encode(text)):
        shown += piece
        assert text.startswith(shown)
    assert shown == text


@settings(deadline=None)
@given(
    text=TEXTS,
    stop=st.lists(st.text(alphabet="ab \n你", min_size=1, max_size=3), max_size=3).map(tuple),
    skip=st.sampled_from(["", " ", "\n"]),
)
def test_stop_and_skip(tokenizer: Any, text: str, stop: tuple[str, ...], skip: str) -> None:
    shown, expected = "", visible(text, stop, skip)
    for piece in pieces(tokenizer, tokenizer.encode(text), stop, skip):
        shown += piece
        assert expected.startswith(shown)  # nothing is shown that has to be taken back
    assert shown == expected


@settings(deadline=None)
@given(text=TEXTS, stop=st.sampled_from([(), ("\n",), ("ab", "b\n")]))
def test_other_tokenizers_decode_by_window(tokenizer: Any, text: str, stop: Any) -> None:
    decoder = WindowDecoder(tokenizer)
    shown = "".join(decoder.push(token) for token in tokenizer.encode(text))
    assert text.startswith(shown)
    assert shown + decoder.finish() == text.rstrip("\ufffd")


def test_special_tokens_are_not_text(tokenizer: Any) -> None:
    assert pieces(tokenizer, tokenizer.encode("a<|im_end|>b<|endoftext|>")) == [
        *("a", "", "b", ""),
        "",
    ]


def test_nothing_is_shown_after_a_stop_string(tokenizer: Any) -> None:
    stream = TextStream(tokenizer, ("\n",))
    assert "".join(stream.push(i) for i in tokenizer.encode("a\nb")) == "a"
    assert stream.stopped
    assert stream.push(tokenizer.encode("c")[0]) == ""
    assert stream.finish() == ""


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("x = ", ("x =", " ")),
        ("x:\n    ", ("x:\n   ", " ")),
        ("def f():\n", ("def f():", "\n")),
        ("x", ("x", "")),
        (" ", (" ", "")),
        ("", ("", "")),
    ],
)
def test_heal_cuts_one_space(prompt: str, expected: tuple[str, str]) -> None:
    assert heal(prompt) == expected


@given(prompt=st.text())
def test_heal_loses_nothing(prompt: str) -> None:
    assert "".join(heal(prompt)) == prompt


PIECES = ("▁", "▁return", "▁w", "▁*", "▁h", "w", "a", "▁a", ")", *BYTE_TOKENS)
FALLBACK = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]


def sentencepiece(decoder: Any) -> Any:
    """Whole tokens of SentencePiece's, which a hub's folder decodes so."""
    vocabulary = {piece: id for id, piece in enumerate(PIECES)}
    backend: Any = Tokenizer(models.BPE(vocab=vocabulary, merges=[], byte_fallback=True))
    backend.decoder = decoder
    return PreTrainedTokenizerFast(tokenizer_object=backend)


DECODERS = {
    "Llama 2": decoders.Sequence([*FALLBACK, decoders.Strip(" ", 1, 0)]),
    "GGUF": decoders.Sequence(FALLBACK),
    "Metaspace": decoders.Metaspace(),
}


@pytest.mark.parametrize("name", DECODERS)
def test_the_space_that_an_answer_begins_with_is_its_own(name: str) -> None:
    tokenizer = sentencepiece(DECODERS[name])
    ids = [PIECES.index(piece) for piece in ("▁w", "▁*", "▁h")]
    assert pieces(tokenizer, ids) == [" w", " *", " h", ""]
    assert "".join(pieces(tokenizer, ids, skip=" ")) == "w * h"
    assert "".join(pieces(tokenizer, [PIECES.index("w"), PIECES.index(")")])) == "w)"


def test_half_a_character_at_the_beginning_is_not_shown() -> None:
    tokenizer = sentencepiece(DECODERS["Llama 2"])
    ids = [PIECES.index(f"<0x{byte:02X}>") for byte in "é".encode()]
    assert pieces(tokenizer, ids) == ["", "é", ""]


def show_all(tokenizer: Any, ids: list[int]) -> str:
    """What is shown where all ids are decoded again with each: slow, and plainly right."""
    [letter] = tokenizer.encode("a", add_special_tokens=False)[-1:]
    begin, shown = tokenizer.decode([letter]), ""
    for place in range(1, len(ids) + 1):
        text = tokenizer.decode([letter, *ids[:place]], skip_special_tokens=True)
        certain = text.removeprefix(begin).rstrip("\ufffd")
        shown = certain if certain.startswith(shown) else shown
    return shown


WORDS = [PIECES.index(piece) for piece in PIECES if piece not in BYTE_TOKENS]
CHARACTERS = [
    [PIECES.index(f"<0x{byte:02X}>") for byte in character.encode()] for character in "é你😀\n"
]
RUNS = st.lists(
    st.one_of(st.sampled_from(WORDS).map(lambda id: [id]), st.sampled_from(CHARACTERS)),
    max_size=120,
).map(lambda runs: [id for run in runs for id in run])


@pytest.mark.parametrize("name", DECODERS)
@settings(deadline=None)
@given(ids=RUNS, half=st.integers(0, 3))
def test_a_long_answer_is_shown_as_if_it_were_decoded_whole(
    name: str, ids: list[int], half: int
) -> None:
    tokenizer = sentencepiece(DECODERS[name])
    ids = ids[: max(0, len(ids) - half)]
    assert "".join(pieces(tokenizer, ids)) == show_all(tokenizer, ids)


@pytest.mark.parametrize("name", DECODERS)
@settings(deadline=None)
@given(ids=st.lists(st.integers(0, len(PIECES) - 1), max_size=120))
def test_bytes_that_are_no_characters_hide_no_more_than_before(name: str, ids: list[int]) -> None:
    tokenizer = sentencepiece(DECODERS[name])
    assert "".join(pieces(tokenizer, ids)).startswith(show_all(tokenizer, ids))


@settings(deadline=None)
@given(ids=st.lists(st.integers(0, 49151), max_size=80))
def test_any_tokens_by_window_join_to_the_decoded_text(tokenizer: Any, ids: list[int]) -> None:
    decoder = WindowDecoder(tokenizer)
    shown = "".join([*map(decoder.push, ids), decoder.finish()])
    assert shown == tokenizer.decode(ids, skip_special_tokens=True).rstrip("\ufffd")


BAD = [PIECES.index("<0xFF>")]


@pytest.mark.parametrize("unit", [[0, 1, 2], CHARACTERS[1], BAD])
def test_what_is_decoded_grows_with_the_answer_and_no_faster(unit: list[int]) -> None:
    class Counted(PreTrainedTokenizerFast):
        decoded = 0

        def decode(self, token_ids: Any, *args: Any, **how: Any) -> Any:
            self.decoded += len(token_ids)
            return super().decode(token_ids, *args, **how)

    tokenizer = Counted(tokenizer_object=sentencepiece(DECODERS["Llama 2"]).backend_tokenizer)
    ids = unit * (3000 // len(unit))
    pieces(tokenizer, ids)
    assert tokenizer.decoded < 40 * len(ids)
