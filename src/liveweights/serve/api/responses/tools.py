"""Tools as a response's client offers and chooses them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from liveweights.http.errors import bad_request, need, unsupported
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

NAMESPACE, MCP, CODE = "namespace", "mcp", "code_interpreter"
PYTHON = "python"
"""The label of the set that runs what ``code_interpreter`` asks for, and its only tool."""
MOST_SETS = 16
"""Sets of tools that the server runs for one request."""
KINDS = (FUNCTION, CUSTOM, NAMESPACE, MCP, CODE)
CREDENTIALS = ("authorization", "headers", "connector_id", "tunnel_id")

Label = Annotated[str, Meta(min_length=1, max_length=64)]


class AllowedTools(msgspec.Struct, forbid_unknown_fields=True):
    tool_names: list[str] | None = None
    read_only: bool | None = None


class FlatTool(msgspec.Struct, forbid_unknown_fields=True):
    """One of any type. ``format`` is of custom tools, ``tools`` of a namespace; what begins with
    ``server_label`` is of those that the server runs."""

    type: str
    name: ToolName | None = None
    description: str | None = None
    parameters: Schema | None = None
    strict: bool | None = None
    format: InputFormat | msgspec.UnsetType = msgspec.UNSET
    tools: list[FlatTool] | msgspec.UnsetType = msgspec.UNSET

    server_label: Label | msgspec.UnsetType | None = msgspec.UNSET
    server_url: str | msgspec.UnsetType | None = msgspec.UNSET
    server_description: str | msgspec.UnsetType | None = msgspec.UNSET
    allowed_tools: list[str] | AllowedTools | msgspec.UnsetType | None = msgspec.UNSET
    require_approval: Any = msgspec.UNSET
    container: Any = msgspec.UNSET

    # Refused: the operator says how servers are reached.
    authorization: str | msgspec.UnsetType | None = msgspec.UNSET
    headers: dict[str, str] | msgspec.UnsetType | None = msgspec.UNSET
    connector_id: str | msgspec.UnsetType | None = msgspec.UNSET
    tunnel_id: str | msgspec.UnsetType | None = msgspec.UNSET


class FlatChoice(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """One tool, or those that are allowed: these are ``tools``."""

    type: str
    name: ToolName | None = None
    namespace: ToolName | None = None
    mode: Literal["auto", "required"] | None = None
    tools: list[FlatChoice] | None = None
    server_label: Label | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """A set of tools that the server runs, as a request asks for it at ``at``; ``allowed`` are
    those that may be called, None: all. ``url`` is where the client says that it is."""

    label: str
    at: str
    allowed: Sequence[str] | None = None
    url: str | None = None
    code: bool = False
    """Whether it is asked for as ``code_interpreter``."""


def read_served(tools: Sequence[FlatTool]) -> list[Served]:
    """Raises ApiError 400 for what would let a tool do more, or less, than the client thinks, and
    for sets that are more than ``MOST_SETS`` or named twice: each is opened, and stays open."""
    served: list[Served] = []
    for place, tool in enumerate(tools):
        at = f"tools[{place}]"
        if tool.type == CODE:
            one, named = Served(PYTHON, at, code=True), f"{at}.type"
        elif tool.type == MCP:
            one, named = _read_server(tool, at), f"{at}.server_label"
        else:
            continue
        if any(other.label == one.label for other in served):
            raise bad_request(f"The tools {one.label!r} are there twice.", named, "invalid_value")
        if len(served) == MOST_SETS:
            message = f"The server runs no more than {MOST_SETS} sets of tools for one request."
            raise bad_request(message, at, "invalid_value")
        served.append(one)
    return served


def _read_server(tool: FlatTool, at: str) -> Served:
    for name in CREDENTIALS:
        if getattr(tool, name):
            message = f"{name!r} is not sent on: the operator says how servers are reached."
            raise unsupported(f"{at}.{name}", message)
    if (tool.require_approval or "never") != "never":
        message = (
            "Nobody is asked before a call: the operator has allowed the server. Say "
            "'require_approval': 'never', or name what may be called in 'allowed_tools'."
        )
        raise unsupported(f"{at}.require_approval", message)
    label = need(tool.server_label or None, f"{at}.server_label")
    return Served(label, at, _allowed(tool, at), tool.server_url or None)


def _allowed(tool: FlatTool, at: str) -> Sequence[str] | None:
    allowed = tool.allowed_tools
    if isinstance(allowed, msgspec.UnsetType):
        return None
    if isinstance(allowed, AllowedTools):
        if allowed.read_only is not None:
            message = "Whether a tool only reads is not known here; name those that are allowed."
            raise unsupported(f"{at}.allowed_tools.read_only", message)
        return allowed.tool_names
    return allowed


def read_offers(
    tools: Sequence[FlatTool], where: str = "tools", namespace: str | None = None
) -> Iterator[Offer]:
    """Those that can be called. Raises ApiError 400."""
    for place, tool in enumerate(tools):
        if tool.type not in (FUNCTION, CUSTOM, NAMESPACE):
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
        case FlatChoice(type="mcp", name=str(name)):
            label = need(choice.server_label, "tool_choice.server_label")
            return Choice("required", (full_name(name, label),), named=True)
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
    chosen, known = {"tool_choice": choice}, (FUNCTION, CUSTOM, MCP, CODE)
    if choice.type == ALLOWED:
        chosen = {f"tool_choice.tools[{i}]": tool for i, tool in enumerate(choice.tools or ())}
        known = (FUNCTION, CUSTOM)
    for at, tool in chosen.items():
        if tool.type not in known:
            yield f"{at}.type", tool.type


def served_labels(choice: str | FlatChoice | None) -> list[str]:
    """Sets that the server runs of which one tool has to be called, whichever."""
    match choice:
        case FlatChoice(type="mcp", name=None):
            return [choice.server_label or ""]
        case FlatChoice(type="code_interpreter"):
            return [PYTHON]
        case _:
            return []


def full_name(name: str, namespace: str | None) -> str:
    """What the model calls a tool."""
    return f"{namespace}.{name}" if namespace else name
