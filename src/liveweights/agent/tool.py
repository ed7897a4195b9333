"""What a set of tools is, whoever runs them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from liveweights.agent.settings import AgentSettings
from liveweights.http.slots import Slots


class ToolError(Exception):
    """A call did not work; the message says why, to the model and to the user."""


class UnknownTools(Exception):
    """No such set of tools is allowed; the message says which are."""


@dataclass(frozen=True, slots=True)
class Described:
    """A tool as the model is told of it; ``parameters`` is a JSON schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Listed:
    """The tools of a set; ``left_out`` are those that cannot be offered, each with the reason."""

    tools: Sequence[Described]
    left_out: Sequence[str] = ()


class Toolset(Protocol):
    """Tools of one kind, open for one response.

    ``list`` and ``call`` end soon after they are cancelled.
    """

    async def list(self) -> Listed:
        """Raises ToolError."""
        ...

    async def call(self, name: str, arguments: Mapping[str, Any], /) -> str:
        """What the tool gives, as text. Raises ToolError."""
        ...


class Tools(Protocol):
    """``agent.shed.Shed`` is the real one."""

    def open(
        self, label: str, tenant: str, /, *, url: str | None = None
    ) -> AbstractAsyncContextManager[Toolset]:
        """The tools of that label, for a response to ``tenant``; ``url`` is where the client thinks
        that they are. Raises UnknownTools at once, and ToolError where they are entered."""
        ...


@dataclass(frozen=True, slots=True)
class Agent:
    """What it takes to run tools while a model answers. Responses hold one of ``turns`` while they
    have sets open that cost processes or connections."""

    tools: Tools
    settings: AgentSettings
    turns: Slots = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "turns", Slots(self.settings.responses, 0))


def read_text(arguments: Mapping[str, Any], name: str) -> str:
    """A text among the arguments of a call. Raises ToolError."""
    value = arguments.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ToolError(f"{name!r} has to be a text")
    return value


def read_count(arguments: Mapping[str, Any], name: str, default: int) -> int:
    """A number from 0 on among the arguments of a call. Raises ToolError."""
    value = arguments.get(name, default)
    if isinstance(value, str) and value.isdecimal() and len(value) < 12:
        value = int(value)  # small models write numbers as texts
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 2**40:
        raise ToolError(f"{name!r} has to be a number from 0 on")
    return value


def describe(
    name: str, description: str, longest: int | None = None, /, **parameters: str
) -> Described:
    """A tool of texts and numbers: each parameter's description, which ends with ``(number)`` where
    it is one; those that begin with ``Optional`` need not be given. Texts have ``longest``
    characters at most, where a model is held to the schema: a small one may never end one."""
    text: dict[str, Any] = {"type": "string"} | ({"maxLength": longest} if longest else {})
    properties = {
        key: ({"type": "integer"} if told.endswith("(number)") else text) | {"description": told}
        for key, told in parameters.items()
    }
    return Described(
        name,
        description,
        {
            "type": "object",
            "properties": properties,
            "required": _needed(parameters.items()),
            "additionalProperties": False,
        },
    )


def _needed(parameters: Iterable[tuple[str, str]]) -> list[str]:
    return [key for key, told in parameters if not told.startswith("Optional")]
