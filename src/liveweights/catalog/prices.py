"""What hosted models cost, by a dated list; see ``catalog.price_library`` for where it is from."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

FILE = "prices.json"
"""A refreshed list, beside a home's own cards."""

NOWHERE = "(?!)"
"""An address that no URL has."""
Dollars = Annotated[float, Meta(ge=0)]
"""US dollars for a million tokens."""


class HourPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another price in some hours of each day (UTC), of ``begin`` on and before ``end``."""

    begin: datetime.time
    end: datetime.time
    input: Dollars | None = None
    output: Dollars | None = None
    cached_input: Dollars | None = None


class ListedPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a provider asks: US dollars for a million tokens, since ``since`` as far as is known.

    None: not said. ``tiers`` says in words what long prompts cost. ``version`` names the list that
    it was read in.
    """

    provider: Annotated[str, Meta(min_length=1)]
    model: Annotated[str, Meta(min_length=1)]
    input: Dollars | None = None
    output: Dollars | None = None
    cached_input: Dollars | None = None
    hours: tuple[HourPrice, ...] = ()
    tiers: str | None = None
    since: datetime.date | None = None
    version: str | None = None
    source: str | None = None


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """Who sells models; ``address`` is a pattern (``re.match``) of the URLs that it answers at."""

    name: str
    address: str
    prices: dict[str, ListedPrice]


class PriceList(msgspec.Struct, frozen=True, kw_only=True):
    """Providers by id. ``fetched`` is when the list was refreshed; None: it came with a package."""

    version: str
    fetched: datetime.datetime | None = None
    providers: dict[str, Provider]

    def find(self, provider: str, model: str) -> ListedPrice | None:
        """By the ids of both, whatever their case."""
        seller = self.providers.get(provider.lower())
        return None if seller is None else _get(seller, model)

    def find_by_address(self, url: str, model: str) -> ListedPrice | None:
        """What a hosted model costs that is asked at ``url`` by the name ``model``.

        Only the very name counts: one that is alike may cost something else.
        """
        for seller in self.providers.values():
            if re.match(seller.address, url) and (price := _get(seller, model)):
                return price
        return None

    def overruled(self, own: Iterable[ListedPrice], day: datetime.date) -> PriceList:
        """With the prices of a home's ``own`` that have begun by ``day`` in place of the list's; of
        several of one model the one that began last. Who sells at which address only the list
        says."""
        providers = {**self.providers}
        begun = (price for price in own if _began(price) <= day)
        for price in sorted(begun, key=_began):
            id, model = price.provider.lower(), price.model.lower()
            seller = providers.get(id) or Provider(name=price.provider, address=NOWHERE, prices={})
            others = {name: one for name, one in seller.prices.items() if name.lower() != model}
            prices = {**others, price.model: price}
            providers[id] = msgspec.structs.replace(seller, prices=prices)
        return msgspec.structs.replace(self, providers=providers)


def _began(price: ListedPrice) -> datetime.date:
    return price.since or datetime.date.min


def _get(seller: Provider, model: str) -> ListedPrice | None:
    wanted = model.lower()
    return seller.prices.get(model) or next(
        (price for name, price in seller.prices.items() if name.lower() == wanted), None
    )


def read_prices(file: Path) -> PriceList:
    """A list that was written by ``encode_prices``. Raises OSError, and ValueError that names the
    file."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=PriceList)
    except msgspec.DecodeError as error:
        raise ValueError(
            f"{file} is no list of prices: {error}; `liveweights catalogue refresh` writes it anew"
        ) from error


def encode_prices(prices: PriceList) -> bytes:
    return msgspec.json.encode(prices)
