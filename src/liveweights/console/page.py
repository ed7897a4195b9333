"""What a page of the console is: where it is, who reads it, and what it is told as."""

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
class Encoding:
    """Another form than HTML and JSON: ``write`` makes it of what the page shows."""

    content_type: bytes
    write: Callable[[Any], bytes]


@dataclass(frozen=True, slots=True)
class Page:
    """A page at ``path``, or ``path``/ID; ``query`` are the parameters that it takes, ``encodings``
    what else than HTML and JSON an ID may end in. ``needed`` is the role that it needs;
    ``tenants``: users of one tenant see it, too, as far as it is theirs;
    ``within`` is the section that it is shown in, where that is not its own."""

    path: str
    template: str
    read: Read
    query: tuple[str, ...] = ()
    encodings: Mapping[str, Encoding] = field(default_factory=dict[str, Encoding])
    needed: Role = "viewer"
    tenants: bool = False
    within: str = ""

    @property
    def section(self) -> str:
        """Of the navigation."""
        return self.within or self.path.strip("/")

    def split(self, name: str) -> tuple[str, str]:
        """The ID of an address below ``path``, and which form of it is asked for."""
        id_, dot, kind = name.rpartition(".")
        return (id_, kind) if dot and (kind == "json" or kind in self.encodings) else (name, "html")
