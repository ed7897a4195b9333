"""Finding cards by lenient names."""

from __future__ import annotations

import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from liveweights.catalog.cards import Card
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.names import Names, UnknownModel, plain

CARDS = list(Catalogue().cards.values())
NAMES = Names(CARDS)


@given(st.sampled_from(CARDS), st.randoms())
def test_case_spaces_and_hyphens_do_not_count(card: Card, random) -> None:  # type: ignore[no-untyped-def]
    said = "".join(
        random.choice([letter.upper(), letter.lower()])
        if letter not in " -_"
        else random.choice([" ", "-", "_", ""])
        for letter in card.name
    )
    assert NAMES.find(said) == card.hub_id


@given(st.sampled_from(CARDS), st.data())
def test_a_name_with_a_letter_lacking_is_suggested_or_another_s(
    card: Card, data: st.DataObject
) -> None:
    name = card.hub_id.partition("/")[2]
    at = data.draw(st.integers(0, len(name) - 1))
    said = name[:at] + name[at + 1 :]
    assume(len(plain(said)) > 4)
    try:
        found = NAMES.find(said)
    except UnknownModel:
        assert NAMES.near(said)
    else:
        assert plain(said) in {plain(found), plain(found.partition("/")[2])} or any(
            plain(one.name) == plain(said) for one in CARDS
        )


@given(st.text())
def test_any_other_text_is_refused_and_named(said: str) -> None:
    assume(not any(plain(said) in (plain(card.hub_id), plain(card.name)) for card in CARDS))
    with pytest.raises(UnknownModel, match=re.escape(repr(said))):
        NAMES.find(said)


def test_a_name_of_several_names_them() -> None:
    names = Names([Card(hub_id="a/one", name="One"), Card(hub_id="b/one", name="Two")])
    with pytest.raises(UnknownModel, match="several models: a/one, b/one"):
        names.find("one")
    assert names.find("b/one") == "b/one"
    assert names.find("two") == "b/one"


def test_what_is_near_is_named() -> None:
    with pytest.raises(UnknownModel, match="the nearest: openai/gpt-oss-20b"):
        NAMES.find("gpt-os-20b")
    with pytest.raises(UnknownModel, match=r"^there is no card of 'zzzz'$"):
        NAMES.find("zzzz")
