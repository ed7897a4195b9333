"""Which pages there are for people, under few headings, and who is shown which."""

from __future__ import annotations

from dataclasses import dataclass

from liveweights.access.roles import Role
from liveweights.bom.document import can_write
from liveweights.console.person import Person


@dataclass(frozen=True, slots=True)
class Link:
    """To the page at /``address``, for whom it is as in ``page.Page``."""

    address: str
    title: str
    needed: Role = "viewer"
    tenants: bool = False

    def is_for(self, person: Person) -> bool:
        """Whether the person may see the page, and it is there."""
        of_tenant = person.tenant is not None
        there = self.address != "bills" or can_write()
        return there and person.may(self.needed) and (self.tenants or not of_tenant)


@dataclass(frozen=True, slots=True)
class Group:
    """Pages under one heading; one without other pages is its own heading."""

    title: str
    links: tuple[Link, ...]

    def holds(self, section: str | None) -> bool:
        """Whether a page of that section is one of these."""
        return any(link.address == section for link in self.links)


GROUPS = (
    Group("Home", (Link("", "Home"),)),
    Group("Playground", (Link("playground", "Playground", tenants=True),)),
    Group(
        "Traffic",
        (Link("answers", "Answers", tenants=True), Link("episodes", "Episodes", tenants=True)),
    ),
    Group(
        "Learning",
        (
            Link("cycles", "Cycles"),
            Link("checkpoints", "Checkpoints"),
            Link("releases", "Releases"),
            Link("lineage", "Lineage"),
        ),
    ),
    Group(
        "Models",
        (
            Link("models", "Models", tenants=True),
            Link("scoreboard", "Scoreboard"),
            Link("bills", "Materials"),
            Link("exposure", "Exposure"),
            Link("adoption", "Adoption"),
        ),
    ),
    Group(
        "Accounts",
        (
            Link("usage", "Usage", tenants=True),
            Link("budgets", "Budgets", tenants=True),
            Link("invoices", "Invoices", tenants=True),
            Link("keys", "Keys", tenants=True),
        ),
    ),
    Group(
        "Service",
        (
            Link("databases", "Databases"),
            Link("users", "Users", "admin"),
            Link("audit", "Audit", "admin"),
        ),
    ),
)


def list_groups(person: Person) -> list[Group]:
    """With the pages that this person may see; a heading without any is left out."""
    shown = [
        Group(group.title, tuple(link for link in group.links if link.is_for(person)))
        for group in GROUPS
    ]
    return [group for group in shown if group.links]
