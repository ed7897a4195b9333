"""What people change on pages: each is a form, a function that does it, and a row of the audit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from liveweights.access.audit import Event
from liveweights.access.roles import Role
from liveweights.console.person import Person
from liveweights.console.subject import Subject
from liveweights.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What ``person`` filled in, with what the address says; ``url`` is where they reach the
    service."""

    person: Person
    fields: Mapping[str, str]
    url: str

    def get(self, name: str) -> str | None:
        """A field, None where it is empty."""
        return self.fields.get(name)

    def text(self, name: str) -> str:
        """A field, "" where it is empty."""
        return self.fields.get(name, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The ``event`` for the audit, whose details are beside the form's, None where all is as it
    was; and the ``place`` where the change is seen.

    ``after`` is what happens beyond the database's transaction, once the row is written; if it
    fails, the row is taken back. ``once`` is what the form's page is told besides, and only in the
    answer to the form.
    """

    event: Event | None
    place: str
    after: Callable[[], Awaitable[None]] | None = None
    once: Mapping[str, object] | None = None


Do: TypeAlias = Callable[[Connection, Subject, Sent], Awaitable[Done]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """POST ``path`` with these ``fields`` by who has the role ``needed``; ``tenants``: users of one
    tenant send it, too. Fields that are ``unkept`` are not for the audit, which loses nothing:
    words that a user may want deleted."""

    path: str
    fields: tuple[str, ...]
    do: Do
    needed: Role = "operator"
    tenants: bool = False
    unkept: tuple[str, ...] = ()
