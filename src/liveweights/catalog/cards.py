"""Cards of open-weight models: whose each is, what it is, what it may be used for.

What is not known is None and is shown as ``unknown``; nothing is guessed. A card of a checkpoint
that is served here, read from its files, is in ``catalog.card``.
"""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from liveweights.catalog.licences import Duty, Text

Count = Annotated[int, Meta(ge=1)]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$")]
"""ISO 3166-1 alpha-2."""
HubId = Annotated[str, Meta(pattern=r"^[\w.-]+/[\w.-]+$")]
Dollars = Annotated[float, Meta(ge=0)]
"""US dollars for a million tokens."""


class Architecture(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"cls": "class"}
):
    """As in a checkpoint's ``config.json``."""

    model_type: Text
    cls: Text | None = None


class Sources(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where facts of a card come from. ``config`` is of layers, hidden, vocab and experts."""

    base: str | None = None
    config: str | None = None
    context: str | None = None
    harness: str | None = None
    licence: str | None = None
    parameters: str | None = None
    released: str | None = None


class ListedPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a provider asks: US dollars for a million tokens, as listed on ``since`` or later.

    ``peak_*`` apply in hours that the provider names. ``version`` is of the list that it was read
    in. A provider may serve another precision or snapshot under the name.
    """

    provider: Text
    model_at_provider: Text
    input: Dollars
    output: Dollars
    cached_input: Dollars | None = None
    peak_input: Dollars | None = None
    peak_output: Dollars | None = None
    tiers: str | None = None
    since: datetime.date | None = None
    version: str | None = None
    unit: Literal["USD per million tokens"] = "USD per million tokens"
    source: str | None = None
    via: str | None = None


class Score(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One published result. Two of them compare only where benchmark, version, harness and
    setting are known and the same; see ``comparable``."""

    benchmark: Text
    value: float
    unit: Text
    run_by: Text
    source: Text
    version: str | None = None
    harness: str | None = None
    samples: str | None = None
    setting: str | None = None
    date: datetime.date | None = None
    via: str | None = None
    note: str | None = None


class Note(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something else that is known."""

    text: Text
    source: str | None = None


class Card(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of one model. None is unknown.

    ``country`` is that of the maker's seat. ``base`` is the hub id that it was derived from, where
    the maker says so. ``licence`` is the id of one that the catalogue has; ``duties`` are what is
    asked beyond that licence's own, and ``display_name`` is the name that a display duty means:
    ``Catalogue.duties`` gives all. ``parameters_*`` are numbers of values as published, ``context``
    is in tokens, ``vocab`` the rows of the embedding.
    """

    hub_id: HubId
    name: Text
    maker: Text | None = None
    country: Country | None = None
    family: Text | None = None
    released: datetime.date | None = None
    base: HubId | None = None
    architecture: Architecture | None = None
    parameters_total: Count | None = None
    parameters_active: Count | None = None
    layers: Count | None = None
    hidden: Count | None = None
    vocab: Count | None = None
    experts: Count | None = None
    context: Count | None = None
    modalities: tuple[Text, ...] = ()
    shipped_format: str | None = None
    status: str | None = None
    licence: Text | None = None
    licence_url: str | None = None
    display_name: Text | None = None
    duties: tuple[Duty, ...] = ()
    sources: Sources = Sources()
    prices: tuple[ListedPrice, ...] = ()
    scores: tuple[Score, ...] = ()
    notes: tuple[Note, ...] = ()
