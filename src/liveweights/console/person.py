"""Who looks at the console."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from liveweights.access.roles import Role, allows
from liveweights.bom.document import can_write

SECTIONS: tuple[tuple[str, str, Role, bool], ...] = (
    ("", "Home", "viewer", False),
    ("playground", "Playground", "viewer", True),
    ("answers", "Answers", "viewer", True),
    ("checkpoints", "Checkpoints", "viewer", False),
    ("cycles", "Cycles", "viewer", False),
    ("releases", "Releases", "viewer", False),
    ("models", "Models", "viewer", True),
    ("scoreboard", "Scoreboard", "viewer", False),
    ("episodes", "Episodes", "viewer", True),
    ("exposure", "Exposure", "viewer", False),
    ("adoption", "Adoption", "viewer", False),
    ("bills", "Materials", "viewer", False),
    ("databases", "Databases", "viewer", False),
    ("usage", "Usage", "viewer", True),
    ("invoices", "Invoices", "viewer", True),
    ("keys", "Keys", "viewer", True),
    ("users", "Users", "admin", False),
    ("audit", "Audit", "admin", False),
)
"""Address, title, the role that it needs, and whether users of one tenant see it, too."""


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

    def may(self, needed: Role) -> bool:
        """Whether the role is enough."""
        return allows(self.role, needed)

    @property
    def sections(self) -> list[tuple[str, str]]:
        """Addresses and titles of the pages that this person may see."""
        return [
            (address, title)
            for address, title, needed, for_tenants in SECTIONS
            if self.may(needed)
            and (for_tenants or self.tenant is None)
            and (address != "bills" or can_write())
        ]
