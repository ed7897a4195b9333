"""Tools as a response's client offers and chooses them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec

from liveweights.http.errors import need
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

NAMESPACE = "namespace"
KINDS = (FUNCTION, CUSTOM, NAMESPACE)


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
    """One tool, or those that are allowed: these are ``tools``."""

    type: str
    name: ToolName | None = None
    namespace: ToolName | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[FlatChoice] | None = None


def read_offers(
    tools: Sequence[FlatTool], where: str = "tools", namespace: str | None = None
) -> Iterator[Offer]:
    """Those that can be called. Raises ApiError 400."""
    for place, tool in enumerate(tools):
        if tool.type not in KINDS:
            continue
        at = f"{where}[{place}]"
        name = need(tool.name, f"{at}.name")
        full = full_name(name, namespace)
        if tool.type == NAMESPACE:
            yield from read_offers(tool.tools or (), f"{at}.tools", full)
        elif tool.type == CUSTOM:
            grammar = tool.format.read(f"{at}.format") if tool.format else None
            function = offer_custom(full, tool.description, grammar)
            yield Offer(function, name, at, namespace, custom=True)
        else:
            function = offer_function(full, tool.description, tool.parameters, tool.strict)
            yield Offer(function, name, at, namespace)


def read_choice(choice: str | FlatChoice | None) -> Choice:
    """Raises ApiError 400."""
    match choice:
        case None | "auto":
            return Choice()
        case "none" | "required":
            return Choice(choice)
        case FlatChoice(type="allowed_tools"):
            at = "tool_choice.tools"
            tools = enumerate(need(choice.tools, at))
            known = [(place, tool) for place, tool in tools if tool.type in (FUNCTION, CUSTOM)]
            names = tuple(_name(tool, f"{at}[{place}]") for place, tool in known)
            return Choice(need(choice.mode, "tool_choice.mode"), names)
        case FlatChoice(type="function" | "custom"):
            return Choice("required", (_name(choice, "tool_choice"),), named=True)
        case _:
            return Choice()


def _name(tool: FlatChoice, at: str) -> str:
    return full_name(need(tool.name, f"{at}.name"), tool.namespace)


def unknown_tools(tools: Sequence[FlatTool], where: str = "tools") -> Iterator[tuple[str, str]]:
    """Those that cannot be called: where each is, and its type."""
    for place, tool in enumerate(tools):
        at = f"{where}[{place}]"
        if tool.type not in KINDS:
            yield f"{at}.type", tool.type
        elif tool.type == NAMESPACE:
            yield from unknown_tools(tool.tools or (), f"{at}.tools")


def unknown_choices(choice: str | FlatChoice | None) -> Iterator[tuple[str, str]]:
    """Tools that cannot be called, and are chosen: where each is, and its type."""
    if not isinstance(choice, FlatChoice):
        return
    chosen = {"tool_choice": choice}
    if choice.type == ALLOWED:
        chosen = {f"tool_choice.tools[{i}]": tool for i, tool in enumerate(choice.tools or ())}
    for at, tool in chosen.items():
        if tool.type not in (FUNCTION, CUSTOM):
            yield f"{at}.type", tool.type


def full_name(name: str, namespace: str | None) -> str:
    """What the model calls a tool."""
    return f"{namespace}.{name}" if namespace else name
