"""What a family's own template writes of an answer is what is read of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.serve.api.doubles import make_tokenizer
from tests.serve.api.test_family_grammars import accepts

from liveweights.catalog.template import ChatTemplate
from liveweights.engines.protocol import Constraint, Token
from liveweights.serve.api.messages import Message, conversation
from liveweights.serve.api.parts import PartReader, Parts, take_apart
from liveweights.serve.api.syntax import deepseek, glm, hermes, kimi, minimax, qwen3_coder
from liveweights.serve.api.syntax.deepseek import DeepSeek
from liveweights.serve.api.syntax.find import find_syntax, find_thinker
from liveweights.serve.api.syntax.glm import Glm
from liveweights.serve.api.syntax.hermes import Hermes
from liveweights.serve.api.syntax.kimi import Kimi
from liveweights.serve.api.syntax.minimax import MiniMax
from liveweights.serve.api.syntax.protocol import Function
from liveweights.serve.api.syntax.qwen3_coder import Qwen3Coder
from liveweights.serve.api.tools import CalledFunction, CalledTool

FOLDER = Path(__file__).parent / "templates"
CALLS = [
    ("get_weather", {"city": "Rome"}),
    ("get_weather", {"city": '東京 "<b>"\n', "days": 2}),
]
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"name": "get_weather", "description": "Look.", "parameters": SCHEMA}
TOOLS: list[dict[str, Any]] = [{"type": "function", "function": FUNCTION}]
ENDS = ("<|im_end|>", "<｜end▁of▁sentence｜>", "<｜Assistant｜>", "<|assistant|>", "[e~[")
SYNTAX = {
    "qwen3": Hermes,
    "qwen3_coder": Qwen3Coder,
    "deepseek_v3": DeepSeek,
    "kimi_k2": Kimi,
    "glm_4_6": Glm,
    "glm_4_7_flash": Glm,
    "minimax_m2": MiniMax,
}
BEGINS = {
    Hermes: hermes.BEGIN,
    Qwen3Coder: qwen3_coder.BEGIN,
    DeepSeek: deepseek.CALLS_BEGIN,
    Kimi: kimi.SECTION_BEGIN,
    Glm: glm.BEGIN,
    MiniMax: minimax.BEGIN,
}
THINKING = ("qwen3", "glm_4_6", "glm_4_7_flash", "minimax_m2")
THOUGHT = "She wants Rome's."


def rendered(name: str, answer: Message) -> tuple[str, str]:
    """A prompt, and what the template writes of ``answer`` after it, as the API has it written."""
    return render_encoded(name, msgspec.json.encode(answer))


@cache
def render_encoded(name: str, encoded: bytes) -> tuple[str, str]:
    answer = msgspec.json.decode(encoded, type=Message)
    template = (FOLDER / f"{name}.jinja").read_text()
    tokenizer = make_tokenizer(template=template)
    asked = Message("user", "What is the weather?")

    async def render() -> tuple[str, str]:
        chat = ChatTemplate(tokenizer)
        try:
            prompt = await chat.render(conversation([asked], template), TOOLS)
            turns = conversation([asked, answer], template)
            return prompt, await chat.render(turns, TOOLS)
        finally:
            await chat.close()

    prompt, whole = asyncio.run(render())
    assert whole.startswith(prompt)
    told = whole[len(prompt) :]
    for end in ENDS:
        told = told.partition(end)[0]
    return prompt, told


def pieces(text: str, size: int) -> Iterator[Token]:
    for start in range(0, len(text), size):
        stop = "stop" if start + size >= len(text) else None
        yield Token(0, text[start : start + size], -0.1, -0.1, (), stop)


def read(name: str, answer: Message, size: int) -> Parts:
    """``answer`` as it is read, in pieces of so many characters, where a model of the family writes
    it."""
    prompt, text = rendered(name, answer)
    tokenizer = make_tokenizer(template=(FOLDER / f"{name}.jinja").read_text())
    syntax, thinker = find_syntax(tokenizer), find_thinker(tokenizer)
    assert isinstance(syntax, SYNTAX[name])
    splitter = None if thinker is None else thinker.splitter(thinker.prompted(prompt, None))
    reader = PartReader(splitter, syntax.reader({"get_weather": SCHEMA}))
    return take_apart(list(pieces(text, size)), reader)


def call_of(name: str, arguments: dict[str, Any]) -> CalledTool:
    return CalledTool("c", CalledFunction(name, json.dumps(arguments, ensure_ascii=False)))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", SYNTAX)
def test_calls_that_the_template_writes_are_read(name: str, count: int, size: int) -> None:
    calls = [call_of(*one) for one in CALLS[:count]]
    said = read(name, Message("assistant", tool_calls=calls, reasoning_content=THOUGHT), size)
    assert [(one.name, json.loads(one.arguments)) for one in said.calls] == CALLS[:count]
    assert not said.text.strip()


@pytest.mark.parametrize("size", [1, 3, 10_000])
@pytest.mark.parametrize("name", THINKING)
def test_what_was_thought_and_said_before_a_call_is_read(name: str, size: int) -> None:
    calls = [call_of(*CALLS[0])]
    answer = Message("assistant", "I look.", reasoning_content=THOUGHT, tool_calls=calls)
    said = read(name, answer, size)
    assert said.thought.strip() == THOUGHT
    assert said.text.strip() == "I look."
    assert len(said.calls) == 1


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", SYNTAX)
def test_a_constrained_call_is_written_as_the_template_has_it(name: str, count: int) -> None:
    calls = [call_of("get_weather", {"city": "Rome"})] * count
    answer = Message("assistant", tool_calls=calls, reasoning_content=THOUGHT)
    text = rendered(name, answer)[1]
    syntax = find_syntax(make_tokenizer(template=(FOLDER / f"{name}.jinja").read_text()))
    assert syntax is not None
    told = text[text.index(BEGINS[type(syntax)]) :].rstrip()
    if isinstance(syntax, DeepSeek) and not told.endswith(deepseek.CALLS_END):
        told += deepseek.CALLS_END  # V3's template ends only several calls
    tool = Function("get_weather", "Look.", SCHEMA, strict=True)
    grammar = syntax.grammar([tool], text=None, required=True, parallel=count > 1)
    assert accepts(Constraint("lark", grammar), told), told


def test_calls_are_told_to_a_template_that_asks_for_no_content() -> None:
    """DeepSeek's V3 writes calls only where there is no content, and takes arguments for a text."""
    answer = Message("assistant", "", tool_calls=[call_of(*one) for one in CALLS])
    assert rendered("deepseek_v3", answer)[1].count("get_weather") == 2


@pytest.mark.parametrize("name", SYNTAX)
def test_a_text_is_a_text(name: str) -> None:
    said = read(name, Message("assistant", "Sunny.", reasoning_content=THOUGHT), 1)
    assert (said.text.strip(), said.calls) == ("Sunny.", [])
