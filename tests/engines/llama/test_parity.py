"""Text is cut into tokens here as llama.cpp cuts it, by each pre-tokenizer."""

from __future__ import annotations

import asyncio

import pytest
from tests.weights.gguf_files import facts_of, train_tokenizer

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
