"""What a family's own template writes of an answer is what is read of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.serve.api.doubles import make_tokenizer

from liveweights.catalog.template import ChatTemplate
from liveweights.engines.protocol import Token
from liveweights.serve.api.messages import Message, conversation
from liveweights.serve.api.parts import PartReader, Parts, take_apart
from liveweights.serve.api.syntax.deepseek import DeepSeek
from liveweights.serve.api.syntax.find import find_syntax, find_thinker
from liveweights.serve.api.syntax.hermes import Hermes
from liveweights.serve.api.tools import CalledFunction, CalledTool

FOLDER = Path(__file__).parent / "templates"
CALLS = [
    ("get_weather", {"city": "Rome"}),
    ("get_weather", {"city": '東京 "<b>"\n', "days": 2}),
]
SCHEMA: dict[str, Any] = {"type": "object", "properties": {"city": {"type": "string"}}}
FUNCTION = {"name": "get_weather", "description": "Look.", "parameters": SCHEMA}
TOOLS: list[dict[str, Any]] = [{"type": "function", "function": FUNCTION}]
ENDS = ("<|im_end|>", "<｜end▁of▁sentence｜>", "<｜Assistant｜>")
SYNTAX = {"qwen3": Hermes, "deepseek_v3": DeepSeek}


def written(name: str, answer: Message) -> str:
    """What the template writes of ``answer`` after the prompt that asks for it, as the API has it
    written."""
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
    return told


def pieces(text: str, size: int) -> Iterator[Token]:
    for start in range(0, len(text), size):
        stop = "stop" if start + size >= len(text) else None
        yield Token(0, text[start : start + size], -0.1, -0.1, (), stop)


def read(name: str, text: str, size: int) -> Parts:
    tokenizer = make_tokenizer(template=(FOLDER / f"{name}.jinja").read_text())
    syntax, thinker = find_syntax(tokenizer), find_thinker(tokenizer)
    assert isinstance(syntax, SYNTAX[name])
    splitter = None if thinker is None else thinker.splitter("free")
    reader = PartReader(splitter, syntax.reader({"get_weather": SCHEMA}))
    return take_apart(list(pieces(text, size)), reader)


def call_of(name: str, arguments: dict[str, Any]) -> CalledTool:
    return CalledTool("c", CalledFunction(name, json.dumps(arguments, ensure_ascii=False)))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("name", SYNTAX)
def test_calls_that_the_template_writes_are_read(name: str, count: int, size: int) -> None:
    calls = [call_of(*one) for one in CALLS[:count]]
    text = written(name, Message("assistant", tool_calls=calls))
    said = read(name, text, size)
    assert [(one.name, json.loads(one.arguments)) for one in said.calls] == CALLS[:count]
    assert not said.text.strip()


@pytest.mark.parametrize("size", [1, 3, 10_000])
def test_what_qwen_thought_and_said_before_its_calls_is_read(size: int) -> None:
    answer = Message(
        "assistant",
        "I look.",
        reasoning_content="She wants Rome's.",
        tool_calls=[call_of(*CALLS[0])],
    )
    said = read("qwen3", written("qwen3", answer), size)
    assert said.thought.strip() == "She wants Rome's."
    assert said.text.strip() == "I look."
    assert len(said.calls) == 1


def test_calls_are_told_to_a_template_that_asks_for_no_content() -> None:
    """DeepSeek's V3 writes calls only where there is no content, and takes arguments for a text."""
    answer = Message("assistant", "", tool_calls=[call_of(*one) for one in CALLS])
    assert written("deepseek_v3", answer).count("get_weather") == 2


@pytest.mark.parametrize("name", SYNTAX)
def test_a_text_is_a_text(name: str) -> None:
    said = read(name, written(name, Message("assistant", "Sunny.")), 1)
    assert (said.text.strip(), said.calls) == ("Sunny.", [])
