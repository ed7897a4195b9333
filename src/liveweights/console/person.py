"""Who looks at the console."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from liveweights.access.roles import Role, allows


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """``name`` is what the audit says. ``token`` is what the forms must carry that are sent by this
    person's browser; a program's need none (None): no browser sends a bearer's key by itself.
    ``known`` by: nothing, as everybody on this machine; the operator's key in each request; or a
    session."""

    name: str
    role: Role
    known: Literal["place", "key", "session"]
    tenant: str | None = None
    token: str | None = None

    @property
    def crowd(self) -> str:
        """With whom this person takes one turn where there is little of something: the others of
        the tenant; nobody, for who is of none."""
        return self.tenant or self.name

    def may(self, needed: Role) -> bool:
        """Whether the role is enough."""
        return allows(self.role, needed)
