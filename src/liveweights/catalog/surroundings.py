"""What surrounds models: products built on them, rules of origin, figures of use."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from liveweights.catalog.cards import Country, HubId
from liveweights.catalog.licences import Text

When = Annotated[str, Meta(pattern=r"^\d{4}(-\d\d){0,2}$")]
"""A day, a month or a year, as far as it is known."""
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
    date: When | None = None
    evidence: str | None = None
    note: str | None = None


class OriginRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A government's rule on where models or chips come from: a paraphrase, not legal advice.

    ``operator_rule`` says in words what an operator may do about it. It is about models of
    ``makers``, ``countries`` and ``licences``, or about ``every_model``; without any of them it is
    about something else, such as chips.
    """

    name: Text
    jurisdiction: Text
    topic: Text
    status: Text
    who: Text
    restricts: Text
    confidence: Confidence
    source: Text
    effective: When | None = None
    operator_rule: str | None = None
    makers: tuple[Text, ...] = ()
    countries: tuple[Country, ...] = ()
    licences: tuple[Text, ...] = ()
    every_model: bool = False
    note: str | None = None


class Adoption(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One published figure of use; ``group`` is a country, a maker or what else is counted."""

    period: Text
    group: Text
    measure: Text
    value: float
    unit: Text
    source: Text
