"""Addresses of pages: a thing of any name has one, and lists go on with what they were asked by."""

from __future__ import annotations

from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.console.page import Page, write_id
from liveweights.console.pages import LISTS, SINGLE
from liveweights.console.subject import Asked

ENDINGS = st.sampled_from(["", ".", ".json", ".html", ".md", ".cdx", ".csv", ".pdf", ".JSON"])
IDS = st.builds(lambda *parts: "".join(parts), st.text(min_size=1), ENDINGS, ENDINGS)


@pytest.mark.parametrize("page", SINGLE, ids=lambda page: page.path)
@given(id=IDS)
def test_whatever_it_is_called_its_page_and_every_form_of_it_are_found(page: Page, id: str) -> None:
    assert page.split(write_id(id)) == (id, "html")
    assert page.split(f"{id}.html") == (id, "html")
    for form in ("json", *page.encodings):
        assert page.split(f"{id}.{form}") == (id, form)


def test_most_addresses_end_in_the_name_itself() -> None:
    for id in ("gen_01", "smollm2-1.7b", "fix/it", "v1.0", "2026-10"):
        assert write_id(id) == id


@pytest.mark.parametrize("page", [*LISTS, *SINGLE], ids=lambda page: page.template)
@given(data=st.data())
def test_a_list_goes_on_by_all_that_it_was_asked_by(page: Page, data: st.DataObject) -> None:
    known = st.sampled_from(["model", *page.query])
    query = data.draw(st.dictionaries(known, st.text(min_size=1), max_size=4))
    id = data.draw(IDS) if page in SINGLE else ""
    asked = Asked("m", id, query, keyed=False)
    parts = urlsplit(page.write_next(asked, "7~x"))
    assert unquote(parts.path) == (f"{page.path}/{write_id(id)}" if id else page.path)
    given = {name: [value] for name, value in query.items()}
    assert parse_qs(parts.query) == {"model": ["m"], **given, "before": ["7~x"]}
