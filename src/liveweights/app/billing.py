"""What the ledger has to know before anything is answered: prices, costs and whose models."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import psycopg

from liveweights.app.profiles import Known, read_known
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


class PricesRefused(RuntimeError):
    """Prices that a service cannot be started with; the message says whose, and what to do."""


async def settle_billing(dsn: str, config: Config, home: Path) -> dict[str, Known]:
    """Write down what the settings, the models that were added and the catalogue say now, where it
    is other than before; what is known of all those models. Raises CatalogueRefused,
    PricesRefused, OSError; then nothing was written."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        added = {row.name: row.settings for row in await read_rows(conn)}
    whole = config.with_models(read_tables(config, added))
    known = await asyncio.to_thread(read_known, whole, home)
    costs = {
        name: cost_from(one.listed, name) for name, one in known.items() if one.listed is not None
    }
    prices = {model: price_from(price, model) for model, price in config.prices.items()}
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        await _settle(conn, prices, costs, [_sold(one) for one in known.values()])
    return known


async def _settle(
    conn: Connection,
    prices: dict[str, PriceRow],
    costs: dict[str, PriceRow],
    sold: list[Sold],
) -> None:
    """Raises PricesRefused."""
    async with conn.transaction():
        added = await settle_prices(conn, prices, "settings", "sale")
        added += await settle_prices(conn, costs, "list", "cost")
        await settle_sold(conn, sold)
        try:
            await check_currency(conn)
        except CurrencyError as error:
            raise PricesRefused(_explain(error)) from error
    if added:
        log.info("%d prices of the settings and of providers' lists hold from now on", added)


def _explain(error: CurrencyError) -> str:
    price, tenant, currency = error.price, error.tenant, error.currency
    if price.source != "settings":
        return f"Budgets would not hold: {error}."
    return (
        f"[prices.{price.model}] in the settings file is in {price.currency}, and the tenant "
        f"{tenant!r} has a budget or credit in {currency}; nothing converts currencies. Write "
        f'currency = "{currency}" there; or let the tenant be billed in {price.currency}: '
        f"`liveweights tenants set {tenant} --currency {price.currency}`; or give it a price of "
        f"its own: `liveweights prices add {price.model} --tenant {tenant} --currency {currency} "
        "--input ... --output ...`, and start the service a minute later, when that holds."
    )


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


def _sold(known: Known) -> Sold:
    """By the model itself, whatever it was derived from."""
    origin = known.candidate.facts.origins[0]
    return Sold(model=known.alias, origin=origin.country, licence=origin.licence)
