"""What is owed on revenue by rule, and what else invoices are made by."""

from __future__ import annotations

import datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from liveweights.meter.money import scaled
from liveweights.meter.tenants import find_zone

Name = Annotated[str, Meta(min_length=1, max_length=128)]
Zone = Annotated[str, Meta(min_length=1, max_length=64)]


class Levy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A tax, a licence's royalty, or a share of revenue that a law asks for: ``rate`` of what the
    lines that it is about add up to. Where a list is empty, it is about all."""

    name: Annotated[Name, Meta(description="As invoices call it.")]
    rate: Annotated[
        float,
        Meta(ge=0, le=1, description="Share of the net amount, at most six decimals; 0.19 is 19%."),
    ]
    added: Annotated[
        bool,
        Meta(
            description="Whether the tenant pays it on top, as a sales tax; false: it is owed out "
            "of what the tenant pays, and named."
        ),
    ] = True
    rule: Annotated[
        str, Meta(max_length=500, description="The law, contract or licence that asks for it.")
    ] = ""
    tenants: Annotated[list[Name], Meta(description="Whose invoices.")] = msgspec.field(
        default_factory=list[str]
    )
    models: Annotated[list[Name], Meta(description="Public names.")] = msgspec.field(
        default_factory=list[str]
    )
    origins: Annotated[
        list[Name], Meta(description="Countries of makers, as the catalogue has them.")
    ] = msgspec.field(default_factory=list[str])
    licences: Annotated[list[Name], Meta(description="Ids of licences, as the catalogue's.")] = (
        msgspec.field(default_factory=list[str])
    )
    first: Annotated[
        datetime.date | None, Meta(description="First day of the months that it is about.")
    ] = None
    last: Annotated[
        datetime.date | None, Meta(description="Last day of the months that it is about.")
    ] = None

    def __post_init__(self) -> None:
        try:
            scaled(self.rate, 6)
        except ValueError as error:
            raise ValueError(f"the rate of {self.name!r}: {error}") from None

    @property
    def ppm(self) -> int:
        """The rate in millionths."""
        return scaled(self.rate, 6)

    def is_due(self, tenant: str, month: datetime.date) -> bool:
        """Whether an invoice for the month that begins on that day may have it."""
        return (
            (not self.tenants or tenant in self.tenants)
            and (self.first is None or month >= self.first)
            and (self.last is None or month <= self.last)
        )

    def is_about(self, model: str, origin: str, licence: str) -> bool:
        return all(
            not wanted or value in wanted
            for wanted, value in (
                (self.models, model),
                (self.origins, origin),
                (self.licences, licence),
            )
        )


class BillingSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The ``[billing]`` table: who bills, when months begin, and what is owed on revenue."""

    seller: Annotated[
        str, Meta(max_length=2000, description="Your name and address, as invoices show them.")
    ] = ""
    time_zone: Annotated[
        Zone,
        Meta(description="In which months begin of tenants that are in the settings file only."),
    ] = "UTC"
    levies: Annotated[
        tuple[Levy, ...],
        Meta(description="Taxes and shares of revenue, each a table `[[billing.levies]]`."),
    ] = ()

    def __post_init__(self) -> None:
        find_zone(self.time_zone)
