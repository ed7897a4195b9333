from __future__ import annotations

from typing import Any, ClassVar

from hypothesis import given
from hypothesis import strategies as st
from tests.serve.api.doubles import make_tokenizer

from liveweights.weights.vocabulary import spell_tokens

TOKENIZER = make_tokenizer()
SPELLED = spell_tokens(TOKENIZER)


@given(st.text(max_size=40))
def test_what_tokens_stand_for_is_the_text(text: str) -> None:
    ids: list[int] = TOKENIZER(text, add_special_tokens=False, split_special_tokens=True).input_ids
    assert b"".join(SPELLED[id_] for id_ in ids) == text.encode()


def test_control_tokens_are_spelled_as_they_are_written() -> None:
    assert SPELLED[TOKENIZER.convert_tokens_to_ids("<|im_end|>")] == b"<|im_end|>"


class Sentencepiece:
    """As Transformers shows one."""

    added_tokens_decoder: ClassVar[dict[int, Any]] = {0: "<s>"}

    def get_vocab(self) -> dict[str, int]:
        return {"<s>": 0, "\u2581word": 1, "<0x0A>": 2, "s": 3}


def test_a_vocabulary_that_is_no_byte_level_one_has_its_spaces() -> None:
    assert spell_tokens(Sentencepiece()) == {0: b"<s>", 1: b" word", 2: b"\n", 3: b"s"}
