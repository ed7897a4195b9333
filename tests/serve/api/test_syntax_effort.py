"""What a model writes is read in time that grows with its length, whatever it is: readers run where
every other answer waits for them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.effort import at_most

from liveweights.engines.protocol import Token
from liveweights.serve.api.parts import PartReader, take_apart
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
from liveweights.serve.api.syntax.protocol import Syntax
from liveweights.serve.api.syntax.thinking import Splitter, Tags

LENGTH = 200_000
PIECE = 80
"""Characters of a token, as those of white space have."""
SECONDS = 20.0
"""A tenth of a second on an idle machine; of what was quadratic, hours."""
NAMES = {"f": {"type": "object", "properties": {"a": {"type": "string"}}}}
TAGS = Tags("<think>", "</think>")

SYNTAXES: dict[str, tuple[Syntax, tuple[str, ...]]] = {
    "deepseek": (
        deepseek.DeepSeek({}),
        (
            deepseek.CALLS_BEGIN,
            f"{deepseek.CALL_BEGIN}f{deepseek.SEPARATOR}",
            f"{deepseek.CALL_BEGIN}function{deepseek.SEPARATOR}f\n```json\n",
            "{}",
            deepseek.CALL_END,
        ),
    ),
    "glm": (
        glm.Glm({}),
        (f"{glm.BEGIN}f", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>", "a"),
    ),
    "harmony": (harmony.Harmony({}), (f"{harmony.CALLING}f{harmony.MESSAGE}", "{")),
    "hermes": (hermes.Hermes(), (hermes.BEGIN, hermes.END, "{", '{"name": "x"}')),
    "kimi": (
        kimi.Kimi({}),
        (kimi.SECTION_BEGIN, f"{kimi.CALL_BEGIN}f:", "0", kimi.ARGUMENTS, kimi.CALL_END),
    ),
    "llama3": (llama3.Llama3(None), ('{"name"', "```json {", "```", ";")),
    "minimax": (
        minimax.MiniMax({}),
        (f'{minimax.BEGIN}<invoke name="f">', "<parameter name=a>", "</parameter>", "</invoke>"),
    ),
    "mistral": (mistral.Mistral({}), (mistral.TRIGGER, f"{mistral.TRIGGER}f", "[ARGS]{}")),
    "nemotron": (nemotron.Nemotron({}), (nemotron.BEGIN, "[", "{}")),
    "qwen3 coder": (
        qwen3_coder.Qwen3Coder({}),
        (
            f"{qwen3_coder.BEGIN}<function=f>",
            "<parameter=a>",
            "</parameter>",
            "</function>",
        ),
    ),
}
FILLINGS = (" ", "\n", '```json {"name"', "```json\n", "a", "<tool_call>")


def answers(syntax: Syntax, parts: tuple[str, ...]) -> Iterator[str]:
    """Beginnings of calls that go on with nothing but one thing, and may end."""
    begin, end = getattr(syntax, "begin", ""), getattr(syntax, "end", "")
    fillings = (*parts, *FILLINGS)
    for filling in fillings:
        body = filling * (LENGTH // len(filling))
        for opening in ("", begin, *parts, begin + parts[0], *FILLINGS[2:4], "a"):
            yield opening + body
            yield opening + body + "a" + end
    for first in fillings:  # half pairs
        for second in fillings:
            pair = first + second
            yield begin + parts[0] + pair * (LENGTH // (8 * len(pair)))


def tokens(text: str, size: int = PIECE) -> list[Token]:
    return [Token(1, text[at : at + size], 0, 0) for at in range(0, len(text), size)]


@pytest.mark.parametrize("family", SYNTAXES)
def test_what_is_no_call_takes_no_longer_for_it(family: str) -> None:
    syntax, parts = SYNTAXES[family]
    for text in answers(syntax, parts):
        with at_most(SECONDS):
            reader = syntax.reader(NAMES)
            said = [
                *reader.push(Token(1, text[:200], 0, 0)),
                *reader.push(Token(1, text[200:], 0, 0)),
            ]
            said += reader.finish()
        assert said


MANY = 3_000_000
"""Characters in tokens of ``PIECE``: looked at again with each, they would take a minute."""
SPACE = " " * MANY


@pytest.mark.parametrize("family", SYNTAXES)
@pytest.mark.parametrize("before", ["a", "begin", '{"name"'])
def test_a_token_takes_no_longer_for_what_waits_before_it(family: str, before: str) -> None:
    syntax, parts = SYNTAXES[family]
    start = parts[0] if before == "begin" else before
    with at_most(SECONDS):
        found = take_apart(tokens(start + SPACE), PartReader(None, syntax.reader(NAMES)))
    assert found.text == start + SPACE or (found.calls and not found.text.strip())


SPLITTERS: dict[str, tuple[Splitter, str]] = {
    "tags": (TAGS.splitter("free"), "<think>a"),
    "opened": (TAGS.splitter("open"), "a"),
    "ended": (TAGS.splitter("free"), "<think>a</think>"),
    "unbegun": (TAGS.splitter("free"), ""),
    "analysis": (harmony.Channels({}).splitter("free"), "<|channel|>analysis<|message|>a"),
    "header": (harmony.Channels({}).splitter("free"), "<|channel|>"),
    "no header": (harmony.Channels({}).splitter("free"), ""),
}


@pytest.mark.parametrize("splitter", SPLITTERS)
def test_white_space_among_thoughts_takes_no_longer_for_what_waits(splitter: str) -> None:
    made, start = SPLITTERS[splitter]
    with at_most(SECONDS):
        take_apart(tokens(start + SPACE + "b"), PartReader(made, None))


def test_long_white_space_is_said_and_short_belongs_to_no_text_before_a_call() -> None:
    call = '<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>'
    for space, said in ((4000, False), (5000, True)):
        reader = PartReader(None, hermes.Hermes().reader(NAMES))
        found = take_apart(tokens("a" + space * " " + call, 1000), reader)
        assert (found.text.strip(), len(found.text) > 4096) == ("a", said)
        assert [one.name for one in found.calls] == ["f"]
