"""What the ledger has to know before anything is answered: prices, costs and whose models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from liveweights.catalog.card_files import CatalogueError
from liveweights.catalog.cards import Card
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.filters import UNKNOWN
from liveweights.catalog.price_library import current_prices
from liveweights.catalog.prices import ListedPrice
from liveweights.config import Config, read_tables
from liveweights.meter.money import NANOS
from liveweights.meter.price_rows import (
    CurrencyError,
    Sold,
    check_currency,
    settle_prices,
    settle_sold,
)
from liveweights.meter.prices import EPOCH, PriceRow, price_from
from liveweights.release.models import read_rows
from liveweights.store.database import Connection

log = logging.getLogger(__name__)


async def settle_billing(dsn: str, config: Config, home: Path) -> None:
    """Write down what the settings, the models that were added and the catalogue say now, where it
    is other than before."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        added = {row.name: row.settings for row in await read_rows(conn)}
    whole = config.with_models(read_tables(config, added))
    costs = await asyncio.to_thread(_read_costs, whole, home)
    sold = await asyncio.to_thread(_read_sold, whole, home)
    prices = {model: price_from(price, model) for model, price in config.prices.items()}
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await _settle(conn, prices, costs, sold)


async def _settle(
    conn: Connection,
    prices: dict[str, PriceRow],
    costs: dict[str, PriceRow] | None,
    sold: list[Sold],
) -> None:
    async with conn.transaction():
        added = await settle_prices(conn, prices, "settings", "sale")
        if costs is not None:
            added += await settle_prices(conn, costs, "list", "cost")
        await settle_sold(conn, sold)
        try:
            await check_currency(conn)
        except CurrencyError as error:
            log.warning("budgets do not hold as they should: %s", error)
    if added:
        log.info("%d prices of the settings and of providers' lists hold from now on", added)


def _read_costs(config: Config, home: Path) -> dict[str, PriceRow] | None:
    """What upstreams ask, by the list of today; None where it cannot be read."""
    hosted = config.list_hosted()
    if not hosted:
        return {}
    try:
        listed = current_prices(home, datetime.now(UTC).date())
    except ValueError as error:
        log.warning("what upstreams ask stays as it was: %s", error)
        return None
    found = ((one, listed.find_by_address(one.upstream, one.model)) for one in hosted)
    return {one.alias: cost_from(price, one.alias) for one, price in found if price is not None}


def cost_from(price: ListedPrice, model: str) -> PriceRow:
    """A provider's price as a row. Its other prices in some hours, and for long prompts, are not
    followed."""
    input, output = _nanos(price.input), _nanos(price.output)
    return PriceRow(
        since=EPOCH,
        side="cost",
        model=model,
        currency="USD",
        input=input,
        cached_input=input if price.cached_input is None else _nanos(price.cached_input),
        output=output,
        reasoning=output,
        source="list",
        note=f"{price.provider} {price.model}, {price.version or 'own card'}",
    )


def _nanos(dollars: float | None) -> int:
    """The list's own floats, such as 0.1, to the nearest nano."""
    return round((dollars or 0.0) * NANOS)


def _read_sold(config: Config, home: Path) -> list[Sold]:
    names = {model.alias: (model.base, Path(model.base).name) for model in config.list_models()}
    names |= {one.alias: (one.model, one.alias) for one in config.list_hosted()}
    try:
        known = Catalogue(home)
        cards = {alias: known.find_first(tried) for alias, tried in names.items()}
    except CatalogueError as error:
        log.warning("whose models are sold stays as it was: %s", error)
        return []
    return list(_sold(cards))


def _sold(cards: dict[str, Card | None]) -> Iterator[Sold]:
    for alias, card in cards.items():
        country = UNKNOWN if card is None else card.country or UNKNOWN
        licence = UNKNOWN if card is None else card.licence or UNKNOWN
        yield Sold(model=alias, origin=country, licence=licence)
