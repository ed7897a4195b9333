"""What the ledger has to know before anything is answered: prices, costs and whose models."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

import psycopg

from liveweights.app.profiles import Known, read_known
from liveweights.catalog.prices import ListedPrice
from liveweights.config import Config, read_tables
from liveweights.meter.money import NANOS
from liveweights.meter.price_rows import (
    ForeignPrice,
    Sold,
    check_currency,
    list_settled,
    settle_prices,
    settle_sold,
)
from liveweights.meter.prices import EPOCH, Price, PriceRow, price_from
from liveweights.release.models import read_rows

log = logging.getLogger(__name__)


class PricesRefused(RuntimeError):
    """Prices that a service cannot be started with; the message says whose, and what to do."""


async def read_all_known(dsn: str, config: Config, home: Path) -> dict[str, Known]:
    """What is known of the models of the settings and of those that were added. Raises
    CatalogueRefused, OSError."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        added = {row.name: row.settings for row in await read_rows(conn)}
    whole = config.with_models(read_tables(config, added))
    return await asyncio.to_thread(read_known, whole, home)


async def settle_billing(dsn: str, config: Config, known: Mapping[str, Known]) -> None:
    """Write down what the settings say of prices now, if they say anything, and of the models that
    are ``known`` what the catalogue says; where it is other than before. Raises PricesRefused; then
    nothing was written."""
    if config.prices is None:
        await _tell_held(dsn)
    await _settle(dsn, config.prices, known)


async def settle_costs(dsn: str, known: Mapping[str, Known]) -> None:
    """Write down what the catalogue says of the models that are ``known``, and nothing of prices.
    Raises PricesRefused; then nothing was written."""
    await _settle(dsn, None, known)


async def _tell_held(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        held = await list_settled(conn, "settings", "sale")
    if held:
        log.info(
            "the settings say nothing of prices: those of before hold on, of %s; `prices = {}` "
            "withdraws them",
            ", ".join(held),
        )


async def _settle(dsn: str, prices: Mapping[str, Price] | None, known: Mapping[str, Known]) -> None:
    """Models that are not known, which another instance may have, keep their costs. Raises
    PricesRefused."""
    costs = {
        name: cost_from(one.listed, name) for name, one in known.items() if one.listed is not None
    }
    added = 0
    async with await psycopg.AsyncConnection.connect(dsn) as conn, conn.transaction():
        if prices is not None:
            wanted = {model: price_from(price, model) for model, price in prices.items()}
            added += await settle_prices(conn, wanted, "settings", "sale")
        added += await settle_prices(conn, costs, "list", "cost", of=known)
        await settle_sold(conn, [_sold(one) for one in known.values()])
        try:
            await check_currency(conn)
        except ForeignPrice as error:
            raise PricesRefused(_explain(error)) from error
    if added:
        log.info("%d prices of the settings and of providers' lists hold from now on", added)


def _explain(error: ForeignPrice) -> str:
    price, tenant, currency = error.price, error.tenant, error.currency
    if price.source != "settings":
        return f"Budgets would not hold: {error}."
    return (
        f"[prices.{price.model}] in the settings file is in {price.currency}, and the tenant "
        f"{tenant!r} has a budget or credit in {currency}; nothing converts currencies. Write "
        f'currency = "{currency}" there; or where it has paid nothing in advance, let the '
        f"tenant be billed in {price.currency}: `liveweights tenants set {tenant} --currency "
        f"{price.currency}`, with its budgets said anew; or give it a price of "
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
