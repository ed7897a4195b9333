"""Tools as a response's client offers them, and the functions that a model is told of in their
place.

A custom tool takes free text: for the model it is a function of one text. Tools of a namespace are
functions whose names begin with it. What only OpenAI's own servers run (a web search) is not here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from liveweights.http.errors import bad_request
from liveweights.serve.api.syntax.protocol import Call
from liveweights.serve.api.tools import FunctionTool, Schema, ToolName

INPUT = "input"
"""The parameter of the function that stands for a custom tool."""
FUNCTION, CUSTOM, NAMESPACE = KINDS = ("function", "custom", "namespace")
_TEXT: Schema = {
    "type": "object",
    "properties": {INPUT: {"type": "string"}},
    "required": [INPUT],
    "additionalProperties": False,
}


class InputFormat(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a custom tool's text has to be: any, or what a grammar admits."""

    type: Literal["text", "grammar"]
    syntax: Literal["lark", "regex"] | None = None
    definition: str | None = None


class FlatTool(msgspec.Struct, forbid_unknown_fields=True):
    """One of any type. ``format`` is of custom tools, ``tools`` of a namespace."""

    type: str
    name: ToolName | None = None
    description: str | None = None
    parameters: Schema | None = None
    strict: bool | None = None
    format: InputFormat | msgspec.UnsetType = msgspec.UNSET
    tools: list[FlatTool] | msgspec.UnsetType = msgspec.UNSET


class FlatChoice(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    type: Literal["function", "custom"]
    name: ToolName
    namespace: ToolName | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool, and the function that the model is told of."""

    function: FunctionTool
    name: str
    namespace: str | None
    custom: bool

    def text(self, call: Call) -> str:
        """What a custom tool is called with."""
        return str(json.loads(call.arguments).get(INPUT, ""))


def offers(tools: Sequence[FlatTool], where: str = "tools") -> list[Offer]:
    """Those that can be called. Raises ApiError 400 for one without a name."""
    return list(_offers(tools, where, None))


def _offers(tools: Sequence[FlatTool], where: str, namespace: str | None) -> Iterator[Offer]:
    for place, tool in enumerate(tools):
        if tool.type not in KINDS:
            continue
        at = f"{where}[{place}]"
        if tool.name is None:
            code = "missing_required_parameter"
            raise bad_request(f"Missing required parameter: '{at}.name'.", f"{at}.name", code)
        if tool.type == NAMESPACE:
            yield from _offers(tool.tools or (), f"{at}.tools", full_name(tool.name, namespace))
        else:
            yield Offer(_function(tool, namespace), tool.name, namespace, tool.type == CUSTOM)


def unknown_tools(tools: Sequence[FlatTool], where: str = "tools") -> Iterator[tuple[str, str]]:
    """Those that cannot be called: where each is, and its type."""
    for place, tool in enumerate(tools):
        at = f"{where}[{place}]"
        if tool.type not in KINDS:
            yield f"{at}.type", tool.type
        elif tool.type == NAMESPACE:
            yield from unknown_tools(tool.tools or (), f"{at}.tools")


def full_name(name: str, namespace: str | None) -> str:
    """What the model calls a tool."""
    return f"{namespace}.{name}" if namespace else name


def text_arguments(text: str) -> str:
    """The arguments of a call of a custom tool, as JSON."""
    return json.dumps({INPUT: text}, ensure_ascii=False)


def _function(tool: FlatTool, namespace: str | None) -> FunctionTool:
    assert tool.name is not None
    name = full_name(tool.name, namespace)
    if tool.type == FUNCTION:
        return FunctionTool(name, tool.description, tool.parameters, tool.strict)
    return FunctionTool(name, _described(tool), _TEXT, None)


def _described(tool: FlatTool) -> str | None:
    format: Any = tool.format or None
    if format is None or format.type != "grammar" or not format.definition:
        return tool.description
    rule = f"Its {INPUT} follows this {format.syntax or 'lark'} grammar:\n{format.definition}"
    return f"{tool.description}\n\n{rule}" if tool.description else rule
