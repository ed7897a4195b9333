"""Tools as a chat's client offers, chooses and has called them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from liveweights.http.errors import need
from liveweights.http.wire import StoredName
from liveweights.serve.api.offers import (
    ALLOWED,
    CUSTOM,
    FUNCTION,
    Choice,
    InputFormat,
    Offer,
    Schema,
    ToolName,
    offer_custom,
    offer_function,
)

KINDS = (FUNCTION, CUSTOM)


class FunctionTool(msgspec.Struct, forbid_unknown_fields=True):
    name: ToolName
    description: str | None = None
    parameters: Schema | None = None
    strict: bool | None = None


class CustomTool(msgspec.Struct, forbid_unknown_fields=True):
    name: ToolName
    description: str | None = None
    format: InputFormat | None = None


class Tool(msgspec.Struct, forbid_unknown_fields=True):
    """One of any type: ``function`` and ``custom`` are of tools of that type."""

    type: str
    function: FunctionTool | None = None
    custom: CustomTool | None = None


class NamedTool(msgspec.Struct, forbid_unknown_fields=True):
    name: ToolName


class ChosenTool(msgspec.Struct, forbid_unknown_fields=True):
    """One, or those that are allowed."""

    type: str
    function: NamedTool | None = None
    custom: NamedTool | None = None
    allowed_tools: AllowedTools | None = None


class AllowedTools(msgspec.Struct, forbid_unknown_fields=True):
    mode: Literal["auto", "required"]
    tools: list[ChosenTool]


ToolChoice = Literal["none", "auto", "required"] | ChosenTool


def read_offers(tools: Sequence[Tool]) -> Iterator[Offer]:
    """Those that can be called. Raises ApiError 400."""
    for place, tool in enumerate(tools):
        at = f"tools[{place}].{tool.type}"
        if tool.type == FUNCTION:
            given = need(tool.function, at)
            function = offer_function(given.name, given.description, given.parameters, given.strict)
            yield Offer(function, given.name, at)
        elif tool.type == CUSTOM:
            custom = need(tool.custom, at)
            grammar = custom.format and custom.format.read(f"{at}.format")
            function = offer_custom(custom.name, custom.description, grammar)
            yield Offer(function, custom.name, at, custom=True)


def read_choice(choice: ToolChoice | None) -> Choice:
    """Raises ApiError 400."""
    if not isinstance(choice, ChosenTool):
        return Choice(choice or "auto")
    if choice.type == ALLOWED:
        at = f"tool_choice.{ALLOWED}"
        allowed = need(choice.allowed_tools, at)
        known = [(i, tool) for i, tool in enumerate(allowed.tools) if tool.type in KINDS]
        return Choice(
            allowed.mode, tuple(_name(tool, f"{at}.tools[{place}]") for place, tool in known)
        )
    if choice.type not in KINDS:
        return Choice()
    return Choice("required", (_name(choice, "tool_choice"),), named=True)


def _name(tool: ChosenTool, at: str) -> str:
    return need(tool.function if tool.type == FUNCTION else tool.custom, f"{at}.{tool.type}").name


def unknown_tools(tools: Sequence[Tool]) -> Iterator[tuple[str, str]]:
    """Those that cannot be called: where each is, and its type."""
    for place, tool in enumerate(tools):
        if tool.type not in KINDS:
            yield f"tools[{place}].type", tool.type


def unknown_choices(choice: ToolChoice | None) -> Iterator[tuple[str, str]]:
    """Tools that cannot be called, and are chosen: where each is, and its type."""
    if not isinstance(choice, ChosenTool):
        return
    chosen = {"tool_choice": choice}
    if choice.type == ALLOWED:
        tools = choice.allowed_tools.tools if choice.allowed_tools else []
        chosen = {f"tool_choice.{ALLOWED}.tools[{i}]": tool for i, tool in enumerate(tools)}
    for at, tool in chosen.items():
        if tool.type not in KINDS:
            yield f"{at}.type", tool.type


class CalledFunction(msgspec.Struct, forbid_unknown_fields=True):
    """``arguments`` is JSON text."""

    name: StoredName
    arguments: str


class CalledCustom(msgspec.Struct, forbid_unknown_fields=True):
    name: StoredName
    input: str


class CalledTool(msgspec.Struct, forbid_unknown_fields=True):
    """``function`` or ``custom``, as its type says."""

    id: str
    function: CalledFunction | None = None
    custom: CalledCustom | None = None
    type: Literal["function", "custom"] = FUNCTION
