"""Every syntax reads what its family writes, and its grammar lets only that through."""

from __future__ import annotations

import asyncio
import copy
import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AddedToken

from liveweights.engines.guide import GuideMaker
from liveweights.engines.protocol import Constraint, StringGrammar, Token
from liveweights.engines.text import TextStream
from liveweights.serve.api.syntax import (
    deepseek,
    glm,
    harmony,
    hermes,
    kimi,
    llama3,
    minimax,
    mistral,
    nemotron,
    qwen3_coder,
)
from liveweights.serve.api.syntax.find import find_syntax
from liveweights.serve.api.syntax.protocol import OPENING, Call, Function, InputGrammar, Syntax

from .doubles import make_tokenizer

WEATHER = Function(
    "get_weather",
    "The weather in a city.",
    {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
    strict=True,
)
TIME = Function("get_time", "", {"type": "object", "properties": {}}, strict=False)
NAMES = {one.name: one.parameters for one in (WEATHER, TIME)}
TRIGGER = 999

FORMS: dict[str, tuple[Syntax, str]] = {
    "hermes": (
        hermes.Hermes(),
        '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>',
    ),
    "llama3": (
        llama3.Llama3(None),
        '{"name": "get_weather", "parameters": {"city": "Rome"}}',
    ),
    "mistral": (
        mistral.Mistral({}),
        '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Rome"}}]',
    ),
}


def said(syntax: Syntax, *pieces: str | int | Token) -> list[Any]:
    """Texts joined, calls as (name, arguments); an int is a token without text."""
    reader = syntax.reader(NAMES)
    found: list[Any] = []
    for piece in pieces:
        token = Token(1, piece, 0, 0) if isinstance(piece, str) else piece
        found += reader.push(Token(token, "", 0, 0) if isinstance(token, int) else token)
    merged: list[Any] = []
    for item in (*found, *reader.finish()):
        if isinstance(item, Call):
            merged.append((item.name, json.loads(item.arguments)))
        elif merged and isinstance(merged[-1], str):
            merged[-1] += item
        else:
            merged.append(item)
    return merged


ROME = ("get_weather", {"city": "Rome"})


@pytest.mark.parametrize("form", FORMS)
def test_reads_a_call_whole_and_by_the_character(form: str) -> None:
    syntax, text = FORMS[form]
    assert said(syntax, text) == said(syntax, *text) == [ROME]


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None)
@given(text=st.text(st.sampled_from('ab <>{}[]"tool_call/\n'), max_size=60))
def test_what_is_no_call_is_text(form: str, text: str) -> None:
    syntax, _ = FORMS[form]
    assert "".join(said(syntax, *text)) == "".join(said(syntax, text)) == text


@pytest.mark.parametrize("form", FORMS)
def test_a_bare_call_is_one_where_nothing_else_is_said(form: str) -> None:
    syntax, _ = FORMS[form]
    bare = ' {\n "name": "get_weather", "arguments": {"city": "Rome"}}\n'
    assert said(syntax, bare) == said(syntax, *bare) == [ROME]
    for text in (f"{bare} It is sunny.", f"I call {bare}", bare.replace("get_weather", "f")):
        assert said(syntax, text) == said(syntax, *text) == [text]


@pytest.mark.parametrize("fence", ["```json\n", "```", " ```\n"])
@pytest.mark.parametrize("form", FORMS)
def test_a_call_in_a_fence_is_one_where_nothing_else_is_said(form: str, fence: str) -> None:
    syntax, _ = FORMS[form]
    fenced = f'{fence}{{"name": "get_weather", "arguments": {{"city": "Rome"}}}}\n```\n'
    assert said(syntax, fenced) == said(syntax, *fenced) == [ROME]
    for text in (f"{fenced} It is sunny.", f"I call {fenced}", fenced.replace("weather", "x")):
        assert said(syntax, text) == said(syntax, *text) == [text]


@pytest.mark.parametrize("form", FORMS)
@given(text=st.text(st.sampled_from('{}[]` "name:,a\n'), max_size=40))
def test_json_that_is_no_call_is_text(form: str, text: str) -> None:
    syntax, _ = FORMS[form]
    text = '{"name"' + text
    assert "".join(said(syntax, *text)) == "".join(said(syntax, text)) == text


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["calendar.respond", "mcp:x/y", "a@b-c_d", "n" * 128])
def test_names_with_signs_come_back_as_they_are(form: str, name: str) -> None:
    syntax, text = FORMS[form]
    reader = syntax.reader({name: {}})
    found = [piece for c in text.replace("get_weather", name) for piece in reader.push(
        Token(1, c, 0, 0))]  # fmt: skip
    (call,) = [*found, *reader.finish()]
    assert isinstance(call, Call)
    assert call.name == name


@pytest.mark.parametrize("form", FORMS)
def test_unknown_tools_and_broken_json_are_text(form: str) -> None:
    syntax, text = FORMS[form]
    for broken in (text.replace("get_weather", "get_wealth"), text.replace('"Rome"', "Rome")):
        assert said(syntax, *broken) == [broken]


MARKED: dict[str, tuple[Syntax, str]] = {
    "hermes": (hermes.Hermes(), "<tool_call>\n{...}\n</tool_call>"),
    "kimi": (kimi.Kimi({}), f"{kimi.SECTION_BEGIN}...{kimi.SECTION_END}"),
    "minimax": (minimax.MiniMax({}), f"{minimax.BEGIN}...{minimax.END}"),
    "nemotron": (nemotron.Nemotron({}), f"{nemotron.BEGIN}...{nemotron.END}"),
}


@pytest.mark.parametrize("form", MARKED)
@given(spaces=st.tuples(*[st.text(st.sampled_from(" \n\t"), max_size=3)] * 3))
def test_white_space_around_what_is_no_call_is_text(form: str, spaces: tuple[str, ...]) -> None:
    syntax, broken = MARKED[form]
    before, between, after = spaces
    text = f"Write it so:{before}{broken}{between}{broken}{after}"
    for whole in (text, f"{text}Done.", text.removesuffix(broken[-1] + after)):
        assert said(syntax, whole) == said(syntax, *whole) == [whole]


def test_hermes_reads_text_around_calls_and_a_call_that_was_cut() -> None:
    syntax, text = FORMS["hermes"]
    around = f"Let me see.\n{text}\n{text}\n\nDone. "
    assert said(syntax, *around) == ["Let me see.", ROME, ROME, "Done. "]
    cut = text.removesuffix("</tool_call>")
    assert said(syntax, *cut) == [ROME]
    half = text[:40]
    assert said(syntax, *half) == [half]


def test_llama3_reads_several_and_the_tag() -> None:
    text = FORMS["llama3"][1]
    both = f'{text}; {{"name": "get_time", "parameters": {{}}}}'
    assert said(llama3.Llama3(TRIGGER), TRIGGER, *both) == [ROME, ("get_time", {})]
    tag = Token(TRIGGER, llama3.TRIGGER, 0, 0)
    for mark in (TRIGGER, tag):
        assert said(llama3.Llama3(TRIGGER), mark, text, mark, text) == [ROME, ROME]
    assert said(llama3.Llama3(TRIGGER), "It is ", "{", "}") == ["It is {}"]


MISTRAL = {"[TOOL_CALLS]": TRIGGER, "[CALL_ID]": 998, "[ARGS]": 997}
LIST = '[{"name": "get_weather", "arguments": {"city": "Rome"}}]'
NAMED = 'get_weather[ARGS]{"city": "Rome"}'
WITH_ID = 'get_weather[CALL_ID]abcDEF123[ARGS]{"city": "Rome"}'


def tokens_of(text: str, *, silent: bool) -> list[Token]:
    """Mistral's tokens; ``silent``: its marks have no text."""
    parts = (part for part in re.split(r"(\[[A-Z_]+\])", text) if part)
    return [
        Token(MISTRAL[part], "" if silent else part, 0, 0)
        if part in MISTRAL
        else Token(1, part, 0, 0)
        for part in parts
    ]


@pytest.mark.parametrize("first", [LIST, NAMED, WITH_ID])
@pytest.mark.parametrize("second", ["get_time[ARGS]{}", "get_time[CALL_ID]xyz456XYZ[ARGS]{}"])
def test_mistral_reads_all_of_its_forms(first: str, second: str) -> None:
    one, time = f"[TOOL_CALLS]{first}", ("get_time", {})
    two = f"[TOOL_CALLS]{NAMED}[TOOL_CALLS]{second}"
    for text, calls in ((one, [ROME]), (two, [ROME, time])):
        assert said(mistral.Mistral({}), *text) == calls
        for silent in (True, False):
            tokens = tokens_of(text, silent=silent)
            assert said(mistral.Mistral(MISTRAL), *tokens) == calls
            assert said(mistral.Mistral(MISTRAL), "Well.", *tokens) == ["Well.", *calls]
    lists = f"[TOOL_CALLS]{LIST}[TOOL_CALLS]{LIST}"
    assert said(mistral.Mistral(MISTRAL), *tokens_of(lists, silent=True)) == [ROME, ROME]
    assert said(mistral.Mistral({}), *lists) == [ROME, ROME]
    assert said(mistral.Mistral(MISTRAL), TRIGGER, 'get_weather{"city": "Rome"}') == [ROME]


def test_what_comes_after_a_trigger_and_is_no_call_is_text_with_its_space() -> None:
    broken = f"\n[TOOL_CALLS]{NAMED}[TOOL_CALLS]get_wealth[ARGS]{{}}"
    tokens = tokens_of(broken, silent=False)
    assert said(mistral.Mistral(MISTRAL), *tokens) == [broken]
    assert said(llama3.Llama3(TRIGGER), "\n", TRIGGER, "print(1)") == ["\nprint(1)"]


def test_what_is_no_call_of_mistrals_takes_no_longer_for_it() -> None:
    """With every way to split the white space tried, it would take hours."""
    for gap in ("\n" * 20_000, "x" * 20_000, "[CALL_ID]" + "\n" * 20_000):
        text = f"[TOOL_CALLS]get_weather[CALL_ID]{gap}Z"
        assert said(mistral.Mistral({}), text) == [text]


def marked(*, special: bool) -> Any:
    """A tokenizer whose marks of calls are tokens of their own: Qwen's are not ``special``, those
    of others are."""
    tokenizer = copy.deepcopy(make_tokenizer())
    marks = [AddedToken(mark, special=special) for mark in (hermes.BEGIN, hermes.END)]
    tokenizer.add_tokens(marks)
    assert len(tokenizer.encode(hermes.BEGIN, add_special_tokens=False)) == 1
    return tokenizer


async def accepts(grammar: str, text: str, tokenizer: Any = None, *strings: StringGrammar) -> bool:
    """Whether the grammar lets ``text`` through as a whole answer."""
    tokenizer = tokenizer or make_tokenizer()
    end = tokenizer.eos_token_id
    maker = GuideMaker(tokenizer, {end})
    guide = await maker.make(Constraint("lark", grammar, strings=strings))
    for id in (*tokenizer.encode(text, add_special_tokens=False), end):
        if not guide.allowed(len(tokenizer))[id]:
            return False
        guide.push(id)
    return True


@pytest.mark.parametrize("form", FORMS)
def test_the_grammar_lets_calls_with_the_right_arguments_through(form: str) -> None:
    syntax, text = FORMS[form]
    wrong = text.replace("city", "town")
    other = "Nice day."

    async def scenario() -> None:
        forced = syntax.grammar([WEATHER, TIME], text=None, required=True, parallel=False)
        assert await accepts(forced, text)
        assert not await accepts(forced, wrong)
        assert not await accepts(forced, other)
        free = syntax.grammar([WEATHER], text=None, required=False, parallel=False)
        assert await accepts(free, text)
        assert await accepts(free, other)
        assert not await accepts(free, wrong)
        number = syntax.grammar([WEATHER], text="/[0-9]+/", required=False, parallel=True)
        assert await accepts(number, text)
        assert await accepts(number, "42")
        assert not await accepts(number, other)

    asyncio.run(scenario())


@pytest.mark.parametrize("form", FORMS)
def test_a_custom_tool_is_held_to_its_grammar_and_others_to_their_schemas(form: str) -> None:
    syntax, text = FORMS[form]
    query = InputGrammar("regex", r'select "[a-z]+"\n')
    sql = Function("get_sql", "", {}, strict=True, grammar=query)
    string = StringGrammar("input_1", OPENING, query.kind, query.source, "the grammar of get_sql")

    def asked(input: str) -> str:
        return text.replace("get_weather", "get_sql").replace(
            '{"city": "Rome"}', json.dumps({"input": input})
        )

    async def scenario() -> None:
        for required in (True, False):
            grammar = syntax.grammar([WEATHER, sql], text=None, required=required, parallel=False)
            for answer, right in (
                (asked('select "a"\n'), True),
                (asked('select "A"\n'), False),
                (asked('select "a"'), False),
                (text, True),
                (text.replace("city", "town"), False),
            ):
                assert await accepts(grammar, answer, None, string) == right, (required, answer)

    asyncio.run(scenario())


PARTS = (
    *("<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[", "]", "; ", ", ", "\n", " ", "Hi", "{"),
    *(
        json.dumps({"name": "get_weather", key: arguments})
        for key in ("arguments", "parameters")
        for arguments in ({"city": "Rome"}, {"town": "Rome"}, {})
    ),
)


@pytest.mark.parametrize("form", FORMS)
@settings(deadline=None, max_examples=150)
@given(parts=st.lists(st.sampled_from(PARTS), max_size=7))
def test_what_is_let_through_beside_a_strict_call_is_no_wrong_one(
    form: str, parts: list[str]
) -> None:
    """Without marks, with other white space: a call that is read has the right arguments."""
    syntax, _ = FORMS[form]
    text = "".join(parts)
    calls = [piece for piece in said(syntax, text) if not isinstance(piece, str)]
    taken = False
    for parallel in (False, True):
        grammar = syntax.grammar([WEATHER], text=None, required=False, parallel=parallel)
        taken = asyncio.run(accepts(grammar, text))
        assert not taken or all(arguments == {"city": "Rome"} for _, arguments in calls)
        assert not taken or parallel or len(calls) <= 1
    if not calls and "{" not in text and not text.lstrip().startswith("["):
        assert taken or "<tool_call>" in text


@pytest.mark.parametrize("special", [False, True])
def test_marks_may_be_tokens_of_their_own(special: bool) -> None:
    tokenizer = marked(special=special)
    syntax = find_syntax(tokenizer)
    assert syntax is not None
    _, text = FORMS["hermes"]
    spoken = f"Let me see.\n{text}\n{text}"

    async def scenario() -> None:
        for required, parallel in ((True, False), (True, True), (False, True)):
            grammar = syntax.grammar(
                [WEATHER, TIME], text=None, required=required, parallel=parallel
            )
            assert await accepts(grammar, text, tokenizer)
            assert not await accepts(grammar, text.replace("city", "town"), tokenizer)
        assert await accepts(grammar, spoken, tokenizer)
        assert await accepts(grammar, "Nice day.", tokenizer)

    asyncio.run(scenario())
    ids = tokenizer.encode(spoken, add_special_tokens=False)
    stream = TextStream(tokenizer)
    reader = syntax.reader(NAMES)
    found = [piece for id in ids for piece in reader.push(Token(id, stream.push(id), 0, 0))]
    said = [piece for piece in (*found, *reader.finish()) if not isinstance(piece, str)]
    assert [call.name for call in said] == ["get_weather", "get_weather"]
    assert "".join(piece for piece in found if isinstance(piece, str)).strip() == "Let me see."


def test_hermes_may_speak_before_a_strict_call() -> None:
    async def scenario() -> None:
        syntax, text = FORMS["hermes"]
        free = syntax.grammar([WEATHER], text=None, required=False, parallel=True)
        assert await accepts(free, f"Let me see.\n{text}\n{text}")
        assert not await accepts(free, f"Let me see.\n{text.replace('city', 'town')}")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("template", "kind"),
    [
        ("{{ messages }}", hermes.Hermes),
        ("{% if tools %}<tool_call>{% endif %}", hermes.Hermes),
        ("{% if tools %}[TOOL_CALLS]{% endif %}", mistral.Mistral),
        ('{% if tools %}"parameters"{% endif %}', llama3.Llama3),
        ("{% if tools %}<tool_call><function=x>{% endif %}", qwen3_coder.Qwen3Coder),
        ("{% if tools %}<tool_call><arg_key>{% endif %}", glm.Glm),
        ("{% if tools %}<minimax:tool_call>{% endif %}", minimax.MiniMax),
        ("{% if tools %}<TOOLCALL>{% endif %}", nemotron.Nemotron),
        ("{% if tools %}<|tool_calls_section_begin|>{% endif %}", kimi.Kimi),
        ("<｜tool▁calls▁begin｜>", deepseek.DeepSeek),
        ("<|channel|>", harmony.Harmony),
        ("{% if tools %}(unheard of){% endif %}", type(None)),
        ("{% if tools %}]<]minimax[>[<tool_call>{% endif %}", type(None)),
    ],
)
def test_the_template_tells_the_syntax(
    template: str, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = make_tokenizer()
    monkeypatch.setattr(tokenizer, "chat_template", template)
    assert isinstance(find_syntax(tokenizer), kind)


HALVES = {
    "hermes": '<tool_call>\n{"name": "get_weather", "arguments": {"city": VALUE}}\n</tool_call>',
    "mistral": '[TOOL_CALLS]get_weather[ARGS]{"city": VALUE}',
}


@pytest.mark.parametrize("family", HALVES)
def test_half_a_surrogate_is_told_as_what_unicode_has_for_it(family: str) -> None:
    syntax, _ = FORMS[family]
    text = HALVES[family].replace("VALUE", r'"x\ud83d y\ud83d\ude00"')
    assert said(syntax, text) == [("get_weather", {"city": "x\ufffd y\U0001f600"})]


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
@pytest.mark.parametrize("family", HALVES)
def test_what_is_no_json_is_no_call(family: str, number: str) -> None:
    syntax, _ = FORMS[family]
    text = HALVES[family].replace("VALUE", number)
    assert said(syntax, text) == [text]


@pytest.mark.parametrize("levels", [101, 300, *range(930, 1000, 3)])
@pytest.mark.parametrize("family", HALVES)
def test_what_is_nested_too_deeply_is_no_call(family: str, levels: int) -> None:
    """Nobody could write it again."""
    syntax, _ = FORMS[family]
    text = HALVES[family].replace("VALUE", "[" * levels + "]" * levels)
    assert said(syntax, text) == [text]
    shallow = HALVES[family].replace("VALUE", "[" * 90 + "]" * 90)
    assert [name for name, _ in said(syntax, shallow)] == ["get_weather"]
