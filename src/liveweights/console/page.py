"""What a page of the console is: where it is, who reads it, and what it is told as."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode

import msgspec

from liveweights.access.roles import Role
from liveweights.console.cursor import PARAM
from liveweights.console.subject import Asked, Subject
from liveweights.store.database import Connection

Read: TypeAlias = Callable[[Connection, Subject, Asked], Awaitable[msgspec.Struct]]
_LIKE_A_FORM = re.compile(r"\.[a-z]*")


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
        """The ID of an address below ``path``, and which form of it is asked for; ``write_id`` for
        IDs that end like a form themselves."""
        id_, _, kind = name.rpartition(".")
        known = ("html", "json", *self.encodings)
        return (id_, kind) if id_ and kind in known else (name, "html")

    def write_next(self, asked: Asked, place: str) -> str:
        """The address of what follows on ``place`` in the list that was asked for, by all that it
        was asked for by."""
        path = f"{self.path}/{quote(write_id(asked.id))}" if asked.id else self.path
        return f"{path}?{urlencode({'model': asked.model, **asked.query, PARAM: place})}"


def write_id(id: str) -> str:
    """What the address of a thing's page ends in: ``.html`` follows an ID that could be taken for
    another one and a form of it."""
    _, dot, kind = id.rpartition(".")
    return f"{id}.html" if dot and _LIKE_A_FORM.fullmatch(dot + kind) else id
