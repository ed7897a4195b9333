"""Text is cut into tokens here as llama.cpp cuts it, by each pre-tokenizer."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from tests.weights.gguf_files import facts_of, train_pieces, train_tokenizer

from liveweights.engines.llama.parity import compare_ids, lines
from liveweights.weights.gguf_tokenizer import SPLITTINGS, Splitting, make_tokenizer

pytestmark = pytest.mark.model

KINDS: dict[Splitting, str] = {splitting: name for name, splitting in SPLITTINGS.items()}
MORE = (
    "ĞÜNEŞ iPhone McDonald's HTTPServer 'S 'Ll ’s",
    "中文English混排123，日本語テキスト。한국어 텍스트",
    "वाक्य में चिह्न: ক্ষ, தமிழ், ไทย, မြန်မာ",
    "a1b22c333d4444e55555 ١٢٣٤٥٦ 𝟘𝟙",
    "x=1;y--;/* z */\r\n\r\n\t\treturn!?...\n\n\n  end",
    "e\u0301 n\u0303 \u200d\ufe0f \u00ad\u2028",
)


@pytest.mark.parametrize("pre", KINDS.values())
def test_each_way_of_cutting_is_llama_cpps(pre: str) -> None:
    # Merges over every place where a text may be cut show each cut that is elsewhere.
    facts = facts_of(train_tokenizer("none", 2000), pre)
    texts = [*MORE, *lines()]
    assert not asyncio.run(compare_ids(pre, facts, make_tokenizer(facts), texts))


LETTERS = (
    "abcdefghijklmnopqrstuvwxyz ABC_01 .,;:()[]{}<>=+-*/#\t\n    selfretunif",
    "äöüßéèñçøåÆŒ ĞŞıİ ĸŋ",
    "日本語中文한국어 ไทยதமிழ் नमस्ते",
    "😀👍🏽🇩🇪\u200d\ufe0f\u2581 \u00a0\u3000",
)


def varied(count: int) -> list[str]:
    """Lines of all kinds of letters; the same at each call."""
    dice = random.Random(3)
    return [
        "".join(dice.choice(dice.choice(LETTERS)) for _ in range(dice.randrange(1, 40)))
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("across", "more"),
    [
        (False, {}), (True, {}), (False, {"add_space_prefix": False}),
        (True, {"add_space_prefix": False}),
    ],
)  # fmt: skip
def test_pieces_are_merged_as_llama_cpp_merges_them(across: bool, more: dict[str, Any]) -> None:
    facts = train_pieces(1500, across=across, **more)
    texts = [*MORE, *lines(), *varied(300)]
    assert not asyncio.run(compare_ids("pieces", facts, make_tokenizer(facts), texts))


def test_marks_of_some_models_take_the_spaces_behind_them() -> None:
    facts = {**train_pieces(), "general.name": "Phi-3 Mini"}
    names = {"<|im_start|>": "<s>", "<|im_end|>": "</s>"}
    tokens = [names.get(token, token) for token in facts["tokenizer.ggml.tokens"]]
    facts["tokenizer.ggml.tokens"] = tokens
    texts = ["</s> \n a", "<unk>  a", "<|endoftext|> b", " <s>  </s>  x"]
    assert not asyncio.run(compare_ids("marks", facts, make_tokenizer(facts), texts))
