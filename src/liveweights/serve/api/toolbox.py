"""The tools of one answer: what it may call, the constraint that follows, and its calls."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from liveweights.engines.json_schema import json_rule
from liveweights.engines.protocol import Constraint, StringGrammar
from liveweights.http.errors import bad_request, unsupported
from liveweights.serve.api.formats import ResponseFormat, schema_of
from liveweights.serve.api.offers import Offer, Schema, ToolUse
from liveweights.serve.api.parts import PartReader
from liveweights.serve.api.syntax.protocol import (
    OPENING,
    Function,
    Syntax,
    input_rule,
)
from liveweights.serve.api.thinking import Thinking

MAX_TOOLS = 128
MAX_SCHEMA_BYTES = 65_536
"""Of all that an answer must fit: what compiles in about a second at worst."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolbox:
    """The functions that one answer may call, none where it may not call any; and its
    ``thinking``, None where the model's family does not."""

    functions: tuple[Function, ...] = ()
    told: tuple[Function, ...] = ()
    """Those that the prompt tells of."""
    offers: Mapping[str, Offer] = field(default_factory=dict[str, Offer])
    """By the name that the model calls."""
    required: bool = False
    parallel: bool = True
    syntax: Syntax | None = None
    thinking: Thinking | None = None

    def described(self) -> list[dict[str, Any]]:
        """As chat templates expect them."""
        return [
            {
                "type": "function",
                "function": {
                    "name": function.name,
                    "description": function.description,
                    "parameters": function.parameters,
                },
            }
            for function in self.told
        ]

    @property
    def plain(self) -> bool:
        """Whether all of an answer is its text."""
        return not self.functions and self.thinking is None

    def reader(self) -> PartReader:
        """Takes one answer apart."""
        calls = None
        if self.functions and self.syntax is not None:
            calls = self.syntax.reader({one.name: one.parameters for one in self.functions})
        return PartReader(self.thinking and self.thinking.splitter(), calls)

    @property
    def free(self) -> bool:
        """Whether the model may call what it was told of as it likes, or nothing."""
        strict = any(function.strict for function in self.functions)
        restricted = len(self.functions) < len(self.told)
        return self.parallel and not (self.required or strict or restricted)


def make_toolbox(use: ToolUse, syntax: Syntax | None, model: str) -> Toolbox:
    """Raises ApiError 400."""
    choice = use.choice
    offers = {offer.function.name: offer for offer in use.offers}
    if len(use.offers) > MAX_TOOLS:
        message = f"{len(use.offers)} tools are more than the {MAX_TOOLS} of one request."
        raise bad_request(message, "tools", "invalid_value")
    if len(offers) < len(use.offers):
        raise bad_request("Two tools have the same name.", "tools", "invalid_value")
    if not offers and (choice.mode == "required" or choice.names):
        message = "'tool_choice' needs 'tools' to choose from."
        raise bad_request(message, "tool_choice", "invalid_value")
    for name in choice.names or ():
        if name not in offers:
            message = f"'tool_choice' names {name!r}, which is not among the tools."
            raise bad_request(message, "tool_choice", "invalid_value")
    names = offers if choice.names is None else choice.names
    functions = tuple(offer.function for name, offer in offers.items() if name in names)
    if choice.mode == "none" or not functions:
        return Toolbox()
    if syntax is None:
        message = f"How the model {model!r} writes tool calls is not known here; leave 'tools' out."
        raise unsupported("tools", message)
    return Toolbox(
        functions=functions,
        told=functions if choice.named else tuple(offer.function for offer in use.offers),
        offers=offers,
        required=choice.mode == "required",
        # Whoever names a function wants one call of it.
        parallel=use.parallel and not choice.named,
        syntax=syntax,
    )


def make_constraint(toolbox: Toolbox, format: ResponseFormat | None) -> Constraint | None:
    """What the answer must be once it has been thought out; None if it may be anything. Raises
    ApiError 400."""
    made, thinking = _make_constraint(toolbox, format), toolbox.thinking
    if thinking is None:
        return made
    if made is None:
        return thinking.budget and Constraint("any", thinking=thinking.budget)
    source = f"start: {json_rule(schema_of(format))}" if made.kind != "lark" else made.source
    allowed = thinking.allow(source, text=made.kind != "lark")
    return replace(made, kind="lark", source=allowed, thinking=thinking.budget)


def _make_constraint(toolbox: Toolbox, format: ResponseFormat | None) -> Constraint | None:
    schema = schema_of(format)
    if schema is None and (toolbox.free or not toolbox.functions):
        return None
    functions = toolbox.functions if toolbox.required else _as_promised(toolbox.functions)
    _check_size(functions, schema)
    if not functions:
        return Constraint("json_schema", json.dumps(schema), "the schema of the answer")
    assert toolbox.syntax is not None
    if not toolbox.syntax.quotes and any(one.grammar for one in functions):
        message = "This model's family writes no JSON strings, so no tool's text has a grammar."
        raise unsupported("tools", message)
    grammar = toolbox.syntax.grammar(
        functions,
        text=None if schema is None else json_rule(schema),
        required=toolbox.required,
        parallel=toolbox.parallel,
    )
    strings = tuple(
        StringGrammar(
            input_rule(place),
            OPENING,
            function.grammar.kind,
            function.grammar.source,
            f"the grammar of the tool {function.name!r}",
        )
        for place, function in enumerate(functions)
        if function.grammar is not None
    )
    return Constraint("lark", grammar, _about(functions, schema), strings)


def _as_promised(functions: Sequence[Function]) -> list[Function]:
    """Where the model is free to call, only strict functions are held to their schemas: others may
    have one that cannot be enforced."""
    return [f if f.strict else replace(f, parameters={"type": "object"}) for f in functions]


def _about(functions: Sequence[Function], schema: Schema | None) -> str:
    named = " or ".join(repr(function.name) for function in functions[:5])
    more = f" or {len(functions) - 5} more" if len(functions) > 5 else ""
    also = ", or the schema of the answer," if schema is not None else ""
    return f"a schema among the tools {named}{more}{also}"


def _check_size(functions: Sequence[Function], schema: Schema | None) -> None:
    schemas = [schema, *(function.parameters for function in functions)]
    size = sum(len(msgspec.json.encode(schema)) for schema in schemas)
    size += sum(len(function.grammar.source) for function in functions if function.grammar)
    if size > MAX_SCHEMA_BYTES:
        message = (
            f"The schemas and grammars of this request have {size} bytes; an answer can be held to "
            f"{MAX_SCHEMA_BYTES} at most."
        )
        raise bad_request(message, code="schema_too_large")
