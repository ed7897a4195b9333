"""Cards of open-weight models: whose each is, what it is, what it may be used for.

What is not known is None and is shown as ``unknown``; nothing is guessed. A card of a checkpoint
that is served here, read from its files, is in ``catalog.card``.
"""

from __future__ import annotations

import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights.catalog.licences import Duty, Text
from liveweights.catalog.prices import ListedPrice

Count = Annotated[int, Meta(ge=1)]
Country = Annotated[str, Meta(pattern="^[A-Z]{2}$")]
"""ISO 3166-1 alpha-2."""
HubId = Annotated[str, Meta(pattern=r"^[\w.-]+/[\w.-]+$")]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]


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


class Hosted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the model is sold, as ``genai-prices`` names provider and model; see
    ``catalog.prices``. A provider may serve another precision or snapshot under the name."""

    provider: Text
    model: Text


class Score(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One published result. Two of them compare only where benchmark, version, harness and
    setting are known and the same: they are never ranked here."""

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
    weights: tuple[Sha256, ...] = ()
    tokenizer: Sha256 | None = None
    sources: Sources = Sources()
    hosted: tuple[Hosted, ...] = ()
    prices: tuple[ListedPrice, ...] = ()
    scores: tuple[Score, ...] = ()
    notes: tuple[Note, ...] = ()
