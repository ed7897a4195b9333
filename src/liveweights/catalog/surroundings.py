"""What surrounds models: products built on them, rules of origin, figures of use."""

from __future__ import annotations

import datetime
from typing import Literal

import msgspec

from liveweights.catalog.cards import Country, HubId
from liveweights.catalog.licences import Text

Confidence = Literal["high", "medium", "low"]


class Product(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A product or model that builds on an open-weight one.

    ``confidence`` is ``stated`` where its maker says so, else ``reported``. ``hub_id`` is the model
    that it builds on; of what is ``distilled`` it is the student's base. None: not known which.
    """

    name: Text
    maker: Text
    country: Country | None = None
    model: Text
    hub_id: HubId | None = None
    relation: Literal["compressed", "distilled", "fine-tune", "hosted", "merged"]
    confidence: Literal["stated", "reported"]
    source: Text
    via: str | None = None
    date: datetime.date | str | None = None
    evidence: str | None = None
    note: str | None = None


class OriginRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A government's rule on where models or chips come from: a paraphrase, not legal advice.

    ``operator_rule`` says in words what an operator may do about it. ``makers`` and ``countries``
    are those whose models it is about; both empty: it is about no maker's models.
    """

    name: Text
    jurisdiction: Text
    topic: Text
    status: Text
    who: Text
    restricts: Text
    confidence: Confidence
    source: Text
    effective: datetime.date | str | None = None
    operator_rule: str | None = None
    makers: tuple[Text, ...] = ()
    countries: tuple[Country, ...] = ()
    note: str | None = None


class Adoption(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One published figure of use; ``group`` is a country, a maker or what else is counted."""

    period: Text
    group: Text
    measure: Text
    value: float
    unit: Text
    source: Text
