"""What a model was derived from, as far back as its cards say, whether or not there is a card."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from liveweights.catalog.cards import Card


@dataclass(frozen=True, slots=True, kw_only=True)
class Ancestor:
    """One model that another was derived from; what is not known is None.

    Without a ``card`` it is only named, by the card of what was made of it. ``is_kin``: it is of
    the same organisation of the hub as that, and says nothing that the other does not: its licence
    is taken for that one's.
    """

    hub_id: str
    maker: str | None
    country: str | None
    licence: str | None
    card: Card | None = None
    is_kin: bool = False


def of_card(card: Card) -> Ancestor:
    return Ancestor(
        hub_id=card.hub_id,
        maker=card.maker,
        country=card.country,
        licence=card.licence,
        card=card,
    )


def without_card(card: Card, cards: Iterable[Card]) -> Ancestor:
    """The base that ``card`` names and that none of ``cards`` is of. Its maker is that of ``card``
    within one organisation of the hub, else whoever made all ``cards`` of its organisation."""
    assert card.base is not None
    organisation = _organisation(card.base)
    is_kin = _organisation(card.hub_id) == organisation
    owners = {
        (one.maker, one.country)
        for one in ((card,) if is_kin else cards)
        if _organisation(one.hub_id) == organisation
    }
    maker, country = owners.pop() if len(owners) == 1 else (None, None)
    return Ancestor(
        hub_id=card.base,
        maker=maker,
        country=country,
        licence=card.licence if is_kin else None,
        is_kin=is_kin,
    )


def _organisation(hub_id: str) -> str:
    return hub_id.partition("/")[0].lower()
