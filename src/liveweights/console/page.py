"""What a page of the console is: where it is, who reads it, and what forms it has."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import msgspec

from liveweights.access.roles import Role
from liveweights.console.subject import Asked, Subject
from liveweights.store.database import Connection

Read: TypeAlias = Callable[[Connection, Subject, Asked], Awaitable[msgspec.Struct]]


@dataclass(frozen=True, slots=True)
class Form:
    """Another form than HTML and JSON: ``write`` makes it of what the page shows."""

    content_type: bytes
    write: Callable[[Any], bytes]


@dataclass(frozen=True, slots=True)
class Page:
    """A page at ``path``, or ``path``/ID; ``query`` are the parameters that it takes, ``forms``
    what else than HTML and JSON an ID may end in. ``needed`` is the role that it needs;
    ``tenants``: users of one tenant see it, too, as far as it is theirs."""

    path: str
    template: str
    read: Read
    query: tuple[str, ...] = ()
    forms: Mapping[str, Form] = field(default_factory=dict[str, Form])
    needed: Role = "viewer"
    tenants: bool = False

    @property
    def section(self) -> str:
        """Of the navigation."""
        return self.path.strip("/")

    def split(self, name: str) -> tuple[str, str]:
        """The ID of an address below ``path``, and which form of it is asked for."""
        id_, dot, kind = name.rpartition(".")
        return (id_, kind) if dot and (kind == "json" or kind in self.forms) else (name, "html")
