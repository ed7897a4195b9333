"""Choosing cards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.filters import UNKNOWN, Filters, NoSuchValue, choose

CARDS = list(Catalogue().cards.values())
MAKERS = sorted({card.maker or UNKNOWN for card in CARDS})
FAMILIES = sorted({card.family or UNKNOWN for card in CARDS})
LICENCES = sorted({card.licence or UNKNOWN for card in CARDS})


@given(
    maker=st.none() | st.sampled_from(MAKERS),
    family=st.none() | st.sampled_from(FAMILIES),
    licence=st.none() | st.sampled_from(LICENCES),
    min_context=st.none() | st.integers(1, 2_000_000),
)
def test_just_those_that_have_all_of_it(
    maker: str | None, family: str | None, licence: str | None, min_context: int | None
) -> None:
    filters = Filters(maker=maker, family=family, licence=licence, min_context=min_context)
    assert choose(CARDS, filters) == [
        card
        for card in CARDS
        if maker in (None, card.maker or UNKNOWN)
        and family in (None, card.family or UNKNOWN)
        and licence in (None, card.licence or UNKNOWN)
        and (min_context is None or (card.context is not None and card.context >= min_context))
    ]


def test_a_whole_value_does_not_mean_those_that_hold_it() -> None:
    assert {card.licence for card in choose(CARDS, Filters(licence="mit"))} == {"MIT"}
    assert {card.family for card in choose(CARDS, Filters(family="qwen3"))} == {"Qwen3"}


def test_a_part_means_all_that_hold_it() -> None:
    assert {card.maker for card in choose(CARDS, Filters(maker="moonshot"))} == {"Moonshot AI"}
    assert {card.maker for card in choose(CARDS, Filters(maker="zai"))} == {"Z.ai (Zhipu AI)"}
    found = {card.licence for card in choose(CARDS, Filters(licence="llama"))}
    assert found == {f"LicenseRef-Llama-{one}-Community" for one in ("3.1", "3.2", "3.3", "4")}


def test_what_is_not_known_can_be_asked_for() -> None:
    found = choose(CARDS, Filters(licence="unknown"))
    assert found
    assert all(card.licence is None for card in found)


def test_a_value_that_no_card_has_is_refused_with_those_near() -> None:
    with pytest.raises(NoSuchValue, match=r"no card has the maker 'Moonshoot'; .*Moonshot AI"):
        choose(CARDS, Filters(maker="Moonshoot"))
    for country in ("XX", "", "-"):
        with pytest.raises(NoSuchValue, match="country"):
            choose(CARDS, Filters(country=country))
