from __future__ import annotations

import pytest

from liveweights.access.roles import ROLES
from liveweights.console.navigation import GROUPS, list_groups
from liveweights.console.pages import HOME, LISTS
from liveweights.console.person import Person

LINKS = {link.address: link for group in GROUPS for link in group.links}


def test_every_page_is_under_one_heading_for_whom_it_is() -> None:
    assert len(LINKS) == sum(len(group.links) for group in GROUPS)
    pages = {page.section: page for page in (HOME, *LISTS) if not page.within}
    assert LINKS.keys() == pages.keys() | {"models"}  # which has routes of its own
    for address, page in pages.items():
        link = LINKS[address]
        assert (link.needed, link.tenants) == (page.needed, page.tenants), address


def test_headings_are_few() -> None:
    assert len(GROUPS) <= 7
    assert max(len(group.links) for group in GROUPS) <= 5


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("tenant", [None, "acme"])
def test_nobody_is_shown_a_heading_without_pages(role: str, tenant: str | None) -> None:
    person = Person(name="ada", role=role, known="session", tenant=tenant)  # type: ignore[arg-type]
    groups = list_groups(person)
    assert all(group.links for group in groups)
    shown = {link.address for group in groups for link in group.links}
    assert ("users" in shown) == (role == "admin" and tenant is None)
    assert ("cycles" in shown) == (tenant is None)
    assert "answers" in shown
