"""What people change on pages: each is a form, a function that does it, and a row of the audit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from liveweights.access.roles import Role
from liveweights.console.person import Person
from liveweights.console.subject import Subject
from liveweights.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """``action`` on ``target`` for the audit, with ``details`` beside the form's, and the
    ``place`` where the change is seen."""

    action: str
    target: str
    place: str
    details: Mapping[str, object] = field(default_factory=dict[str, object])


Do: TypeAlias = Callable[[Connection, Subject, Person, Mapping[str, str]], Awaitable[Done]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """POST ``path`` with these ``fields`` by who has the role ``needed``."""

    path: str
    fields: tuple[str, ...]
    do: Do
    needed: Role = "operator"
