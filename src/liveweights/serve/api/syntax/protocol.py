"""What a family's tool-call syntax has to say."""

from __future__ import annotations

import json
import re
import secrets
import string
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, cast

from liveweights.engines.json_schema import json_rule
from liveweights.engines.protocol import STRING_CHARACTERS, Token
from liveweights.serve.api.syntax.arguments import JSON, write_arguments

ID_LENGTH = 9  # Mistral's templates take no other
_ALPHABET = string.ascii_letters + string.digits


INPUT = "input"
"""The parameter of the function that stands for a custom tool."""
OPENING = f'{{"{INPUT}": "'
"""What its arguments begin with, up to the text."""
CLOSING = '"}'


def make_call_id() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(ID_LENGTH))


@dataclass(frozen=True, slots=True)
class InputGrammar:
    """What a text must be: a grammar in Lark, or a regular expression that all of it matches."""

    kind: Literal["lark", "regex"]
    source: str


@dataclass(frozen=True, slots=True)
class Function:
    """A tool that a model may call. ``parameters`` is a JSON schema of an object; that of a
    function with a ``grammar`` has one text, which follows it."""

    name: str
    description: str
    parameters: dict[str, Any]
    strict: bool
    grammar: InputGrammar | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """``arguments`` is the JSON text of an object."""

    name: str
    arguments: str
    id: str = field(default_factory=make_call_id)


@dataclass(frozen=True, slots=True)
class Thought:
    """What the model thought before it answers; a piece of it, while it is sampled."""

    text: str


Said = str | Call
"""A piece of an answer: text that the user sees, or a call."""
Schemas = Mapping[str, dict[str, Any]]
"""The tools that may be called: for each name the JSON schema of its arguments."""


class Reader(Protocol):
    """Takes an answer apart while it is sampled. What looks like a call and is none is text."""

    def push(self, token: Token) -> list[Said]: ...

    def finish(self) -> list[Said]: ...


class Syntax(Protocol):
    @property
    def quotes(self) -> bool:
        """Whether texts among a call's arguments are JSON strings."""
        ...

    def reader(self, schemas: Schemas, /) -> Reader:
        """For one answer."""
        ...

    def grammar(
        self, functions: Sequence[Function], *, text: str | None, required: bool, parallel: bool
    ) -> str:
        """A Lark grammar of answers that call ``functions`` with arguments of their schemas.

        Where a call is not ``required``, the answer may be ``text`` (an expression in Lark) or,
        where that is None, any text. Without ``parallel`` there is at most one call.
        """
        ...


BARE = '{"name"'
"""What a call begins with that stands alone, without its family's marks: small models write that.
White space within does not count."""
MOST_SPACE = 4096
"""Characters of white space that wait for what comes after them: a model may write nothing else to
its end."""
FENCES = ("```json", "```")
"""What may stand before it, with ``` after it, as in Markdown."""
ALONE = (BARE, *(f"{fence}{BARE}" for fence in FENCES))
"""Every way that a call without marks begins."""


NO_BARE_CALL = r"~/\s*(```(json)?\s*)?\{\s*\"name\"(.|\n)*/"
"""An expression in Lark, for terminals: what does not begin so."""
_FENCE = "```"


def begins_with(text: str, opening: str) -> bool | None:
    """Whether ``text`` begins with ``opening``, white space aside; None while it may turn out
    so."""
    said = "".join(text[: 8 * len(opening)].split())
    if said.startswith(opening):
        return True
    return None if opening.startswith(said) and len(text) < 8 * len(opening) else False


def begins_alone(text: str) -> bool | None:
    """The same of a call without marks."""
    told = [begins_with(text, opening) for opening in ALONE]
    return True if True in told else None if None in told else False


def unfence(text: str) -> str:
    """What is within a fence that is all of the text; else the text."""
    said = text.strip()
    fenced = said.startswith(_FENCE) and said.endswith(_FENCE) and len(said) >= 2 * len(_FENCE)
    return _strip_fence(said) if fenced else text


def _strip_fence(text: str) -> str:
    """Without either end of a fence, whichever there is."""
    said = text.strip().removeprefix(_FENCE + "json").removeprefix(_FENCE)
    return said.removesuffix(_FENCE).strip()


def read_calls(text: str, names: Collection[str], mark: str = ";") -> list[Call] | None:
    """The calls in a JSON object, a list of them, or several with ``;``, ``mark`` or white space
    between.

    None if there is anything else, or a tool that does not exist.
    """
    calls: list[Call] = []
    at = 0
    while at < len(text):
        if text[at].isspace() or text[at] == ";":
            at += 1
            continue
        if text.startswith(mark, at):
            at += len(mark)
            continue
        try:
            value, at = JSON.raw_decode(text, at)
        except (ValueError, RecursionError):
            return None
        for item in cast(list[Any], value) if isinstance(value, list) else [value]:
            call = _call(item, names)
            if call is None:
                return None
            calls.append(call)
    return calls or None


def _call(value: Any, names: Collection[str]) -> Call | None:
    if not isinstance(value, dict):
        return None
    fields = cast(dict[str, Any], value)
    name = fields.get("name")
    arguments = fields.get("arguments", fields.get("parameters", {}))
    if not isinstance(name, str) or name not in names:
        return None
    if isinstance(arguments, str):
        try:
            arguments = JSON.decode(arguments)
        except (ValueError, RecursionError):
            return None
    if not isinstance(arguments, dict):
        return None
    return Call(name, write_arguments(cast(dict[str, Any], arguments)))


def quoted(text: str) -> str:
    """``text`` as a literal in a Lark grammar."""
    return json.dumps(text)


def literal(mark: str, id: int | None) -> str:
    """A mark in a Lark grammar, by its token where it has one."""
    return quoted(mark) if id is None else f"<[{id}]>"


def in_pattern(text: str) -> str:
    """``text`` within a regular expression in Lark."""
    return "".join(c if c.isalnum() or ord(c) > 127 else f"\\x{ord(c):02x}" for c in text)


def input_rule(place: int) -> str:
    """The rule that comes before the text of the function at that place."""
    return f"input_{place}"


def arguments_rules(place: int, function: Function) -> list[str]:
    """Rules of a Lark grammar: ``args_0`` is what the first function is called with."""
    if function.grammar is None:
        return [f"args_{place}: {json_rule(function.parameters)}"]
    # What the text is, between the two, is up to its own grammar (``engines.json_strings``).
    name = input_rule(place)
    return [
        f"args_{place}: {name} {STRING_CHARACTERS} {quoted(CLOSING)}",
        f"{name}[capture]: {quoted(OPENING)}",
    ]


def read_arguments(
    head: re.Pattern[str], end: str, text: str, names: Collection[str]
) -> list[Call] | None:
    """The calls of which ``text`` consists: of each a name, as ``head`` has it, and the JSON of its
    arguments, which may stand in a fence, up to ``end``; the last may lack that. None if there is
    anything else, or a tool that does not exist."""
    calls: list[Call] = []
    at = 0
    while match := head.match(text, at):
        stop = text.find(end, match.end())
        written = text[match.end() : stop if stop >= 0 else len(text)]
        call = _call({"name": match[1], "arguments": _strip_fence(written) or "{}"}, names)
        if call is None:
            return None
        calls.append(call)
        at = stop + len(end) if stop >= 0 else len(text)
    return calls if calls and not text[at:].strip() else None
