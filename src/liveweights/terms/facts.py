"""What rules look at of a model: whose it is and under which licence, back to what it was made
from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from liveweights.catalog.cards import Card
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.filters import UNKNOWN
from liveweights.catalog.licences import Duty, Licence

LicenceKind = Literal["open", "restricted", "non-commercial", "unknown"]
"""``non-commercial``: a duty says so; ``open``: else, and the OSI approves the licence;
``restricted``: any other licence that is known; ``unknown``: none is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Whose a model is: the one that is asked about, or one that it was derived from.

    What is not known is ``unknown``, which rules can name. ``duties`` are all that apply, with the
    name that is to be shown in their texts.
    """

    name: str
    maker: str = UNKNOWN
    country: str = UNKNOWN
    family: str = UNKNOWN
    licence: str = UNKNOWN
    licence_kind: LicenceKind = UNKNOWN
    duties: tuple[Duty, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """``name`` is what requests call the model; ``origins`` are itself, then what it was derived
    from, the nearest first. ``context`` is in tokens; None: not known."""

    name: str
    origins: tuple[Origin, ...]
    context: int | None = None


def facts_of(known: Catalogue, card: Card, name: str | None = None) -> Facts:
    """Of a model that has a card; ``name`` is its public one, where it is not the hub id."""
    return Facts(
        name=name or card.hub_id, origins=tuple(_origins(known, card)), context=card.context
    )


def unknown_facts(name: str) -> Facts:
    """Of a model that nothing is known of."""
    return Facts(name=name, origins=(Origin(name=name),))


def kind_of(licence: Licence | None, duties: tuple[Duty, ...]) -> LicenceKind:
    """``duties``: the licence's and those of the card."""
    if licence is None:
        return UNKNOWN
    if any(duty.kind == "non-commercial" for duty in duties):
        return "non-commercial"
    return "open" if licence.osi_approved else "restricted"


def _origins(known: Catalogue, card: Card) -> Iterator[Origin]:
    duties = {one.hub_id: owed for one, owed in known.chain_of_duties(card)}
    yield _origin(known, card, duties[card.hub_id])
    for one in known.ancestry(card):
        if one.card is not None:
            yield _origin(known, one.card, duties[one.card.hub_id])
        elif not one.is_kin:
            yield Origin(
                name=one.hub_id,
                maker=one.maker or UNKNOWN,
                country=one.country or UNKNOWN,
            )


def _origin(known: Catalogue, card: Card, duties: tuple[Duty, ...]) -> Origin:
    return Origin(
        name=card.hub_id,
        maker=card.maker or UNKNOWN,
        country=card.country or UNKNOWN,
        family=card.family or UNKNOWN,
        licence=card.licence or UNKNOWN,
        licence_kind=kind_of(known.licence(card), duties),
        duties=duties,
    )
