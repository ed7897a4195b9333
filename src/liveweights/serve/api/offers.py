"""The tools that a request offers, whichever endpoint it comes to, and which of them may be called.

A custom tool takes free text: for the model it is a function of one text. Tools of a namespace are
functions whose names begin with it, and so are those of a set that the server runs itself. What
only OpenAI's own servers run (a web search) is not here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from liveweights.http.errors import need
from liveweights.serve.api.syntax.arguments import write_value
from liveweights.serve.api.syntax.protocol import INPUT, Call, Function, InputGrammar

ToolName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.:/@-]{1,128}$")]
Schema = dict[str, Any]
FUNCTION, CUSTOM, ALLOWED = "function", "custom", "allowed_tools"
_TEXT: Schema = {
    "type": "object",
    "properties": {INPUT: {"type": "string"}},
    "required": [INPUT],
    "additionalProperties": False,
}


class InputFormat(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a custom tool's text has to be: any, or what a grammar admits.

    Chats have ``grammar`` as an object, responses its two members beside ``type``.
    """

    type: Literal["text", "grammar"]
    syntax: Literal["lark", "regex"] | None = None
    definition: str | None = None
    grammar: GivenGrammar | None = None

    def read(self, at: str) -> InputGrammar | None:
        """None for any text. Raises ApiError 400."""
        if self.type == "text":
            return None
        if self.grammar is not None:
            return InputGrammar(self.grammar.syntax, self.grammar.definition)
        return InputGrammar(self.syntax or "lark", need(self.definition, f"{at}.definition"))


class GivenGrammar(msgspec.Struct, forbid_unknown_fields=True):
    syntax: Literal["lark", "regex"]
    definition: str


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool, and the function that the model is told of. ``at`` is where the request has it."""

    function: Function
    name: str
    at: str
    namespace: str | None = None
    custom: bool = False
    server: str | None = None
    """The label of the set that it is of, where the server runs it; None: the client does."""

    def text(self, call: Call) -> str:
        """What a custom tool is called with."""
        return read_argument(call, INPUT)


def read_argument(call: Call, name: str) -> str:
    """A text among the arguments of a call; empty where it is not there, JSON where it is no
    text."""
    return write_value(json.loads(call.arguments).get(name, ""))


def offer_function(
    name: str, description: str | None, parameters: Schema | None, strict: bool | None
) -> Function:
    schema = {"type": "object", "properties": {}} | (parameters or {})
    return Function(name, description or "", schema, bool(strict))


def offer_custom(name: str, description: str | None, grammar: InputGrammar | None) -> Function:
    """The function of one text that stands for a custom tool. Its grammar is told, too."""
    told = description or ""
    if grammar is not None:
        rule = f"Its {INPUT} follows this {grammar.kind} grammar:\n{grammar.source}"
        told = f"{told}\n\n{rule}" if told else rule
    return Function(name, told, _TEXT, grammar is not None, grammar)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which tools may be called: those of ``names``, all where that is None. ``named`` is the
    choice of a single call of one."""

    mode: Literal["none", "auto", "required"] = "auto"
    names: tuple[str, ...] | None = None
    named: bool = False


@dataclass(frozen=True, slots=True)
class ToolUse:
    """What a request says of tools. ``parallel`` is whether there may be several calls."""

    offers: Sequence[Offer] = ()
    choice: Choice = Choice()
    parallel: bool = True

    def unenforced(self) -> tuple[ToolUse, list[str]]:
        """For an engine that cannot be held to anything: what is left, and the names of what is
        not."""
        if self.choice.mode == "none":
            return self, []
        left_out: list[str] = []
        offers: list[Offer] = []
        for offer in self.offers:
            if self.choice.names is not None and offer.function.name not in self.choice.names:
                continue  # a model that is not told of a tool does not call it
            if offer.function.strict:
                left_out.append(f"{offer.at}.{'format' if offer.custom else 'strict'}")
            function = replace(offer.function, strict=False, grammar=None)
            offers.append(replace(offer, function=function))
        if offers and not self.parallel and not self.choice.named:
            left_out.append("parallel_tool_calls")
        return ToolUse(offers, self.choice), left_out
