"""Grammars of the families' calls, alone and after a thought, and the bound on thinking."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.serve.api.doubles import make_tokenizer
from tests.serve.api.test_syntax import TIME, WEATHER

from liveweights.engines.guide import GuideMaker
from liveweights.engines.protocol import Constraint
from liveweights.serve.api.syntax.deepseek import DeepSeek
from liveweights.serve.api.syntax.glm import Glm
from liveweights.serve.api.syntax.harmony import Harmony
from liveweights.serve.api.syntax.kimi import Kimi
from liveweights.serve.api.syntax.minimax import MiniMax
from liveweights.serve.api.syntax.nemotron import Nemotron
from liveweights.serve.api.syntax.protocol import Syntax
from liveweights.serve.api.syntax.qwen3_coder import Qwen3Coder
from liveweights.serve.api.syntax.thinking import Tags

TOKENIZER = make_tokenizer()
TAGS = Tags("<think>", "</think>")
CALLS: list[tuple[Syntax, str]] = [
    (
        Kimi({}),
        "<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0"
        '<|tool_call_argument_begin|>{"city": "Rome"}<|tool_call_end|><|tool_calls_section_end|>',
    ),
    (
        DeepSeek({}),
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>"
        '{"city": "Rome"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
    ),
    (
        Glm({}),
        "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Rome</arg_value>\n</tool_call>",
    ),
    (
        MiniMax({}),
        '<minimax:tool_call>\n<invoke name="get_weather">\n'
        '<parameter name="city">Rome</parameter>\n</invoke>\n</minimax:tool_call>',
    ),
    (
        Nemotron({}),
        '<TOOLCALL>[{"name": "get_weather", "arguments": {"city": "Rome"}}]</TOOLCALL>',
    ),
    (
        Qwen3Coder({}),
        "<tool_call>\n<function=get_weather>\n<parameter=city>\nRome\n</parameter>\n</function>\n"
        "</tool_call>",
    ),
    (
        Harmony({}),
        "<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>"
        '{"city": "Rome"}<|call|>',
    ),
]


DEFINITIONS = {
    "City": {
        "type": "object",
        "properties": {"at": {"type": "array", "items": {"$ref": "#/$defs/Number"}}},
        "required": ["at"],
    },
    "Name": {"type": "string", "enum": ["Rome", "Bonn"]},
    "Number": {"type": "integer"},
}


def accepts(constraint: Constraint, text: str) -> bool:
    """Whether every token of the text, and then the end, is allowed where it comes."""

    async def scene() -> bool:
        end = TOKENIZER.eos_token_id
        guide = await GuideMaker(TOKENIZER, {end}).make(constraint)
        for token in (*TOKENIZER.encode(text, add_special_tokens=False), end):
            if not guide.allowed(len(TOKENIZER))[token]:
                return False
            guide.push(token)
        return True

    return asyncio.run(scene())


@pytest.mark.parametrize(
    ("syntax", "call"), CALLS, ids=[type(syntax).__name__ for syntax, _ in CALLS]
)
def test_a_call_follows_its_schema_alone_and_after_a_thought(syntax: Syntax, call: str) -> None:
    for required in (True, False):
        grammar = syntax.grammar([WEATHER, TIME], text=None, required=required, parallel=False)
        assert accepts(Constraint("lark", grammar), call)
        assert not accepts(Constraint("lark", grammar), call.replace("city", "town"))
        if required:
            thought = Constraint("lark", TAGS.allow(grammar, "open", text=False))
            assert accepts(thought, f"Which city?</think>\n\n{call}")
            assert not accepts(thought, "Which city?</think>\n\nRome, I think.")


@pytest.mark.parametrize(
    ("answer", "allowed"),
    [
        ("abcde</think>hi", True),
        ("abcdef</think>hi", False),
        ("abcdefgh", False),
    ],
)
def test_a_spent_budget_leaves_only_the_end_mark(answer: str, allowed: bool) -> None:
    def encode(text: str) -> list[int]:
        return TOKENIZER.encode(text, add_special_tokens=False)

    budget = TAGS.budget(5, "open", encode)
    assert accepts(Constraint("any", thinking=budget), answer) == allowed


def test_an_answer_that_did_not_think_is_not_cut() -> None:
    def encode(text: str) -> list[int]:
        return TOKENIZER.encode(text, add_special_tokens=False)

    budget = TAGS.budget(5, "free", encode)
    assert accepts(Constraint("any", thinking=budget), "A long answer without a thought.")
    assert not accepts(Constraint("any", thinking=budget), "<think>abcdefghij")


@pytest.mark.parametrize(
    ("schema", "right", "wrong"),
    [
        ({"$ref": "#/$defs/City"}, ['{"at": [1, 2]}'], ["Rome", '{"at": "Rome"}']),
        ({"$ref": "#/properties/also"}, ["Bonn"], ["Paris", '"Bonn"']),
        ({"anyOf": [{"$ref": "#/$defs/Name"}, {"type": "null"}]}, ["Bonn", "null"], ["Paris"]),
        ({"type": "array", "items": {"$ref": "#/$defs/Name"}}, ['["Bonn"]'], ['["Paris"]']),
        ({"type": ["string", "null"]}, ["Rome", "12345", "null"], []),
        ({"anyOf": [{"enum": ["Rome", "Bonn"]}, {"type": "null"}]}, ["Bonn", "null"], ["Paris"]),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, ['"Rome"', "12"], ["Rome"]),
    ],
)
def test_a_value_between_tags_is_what_its_schema_says(
    schema: dict[str, Any], right: list[str], wrong: list[str]
) -> None:
    parameters = {
        **WEATHER.parameters,
        "properties": {"city": schema, "also": {"$ref": "#/$defs/Name"}},
        "$defs": DEFINITIONS,
    }
    function = replace(WEATHER, parameters=parameters)
    syntax, call = next((s, c) for s, c in CALLS if isinstance(s, Qwen3Coder))
    source = syntax.grammar([function], text=None, required=True, parallel=False)
    for value in (*right, *wrong):
        told = accepts(Constraint("lark", source), call.replace("Rome", value))
        assert told == (value in right), value
