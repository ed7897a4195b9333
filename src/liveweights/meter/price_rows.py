"""Prices and plans as rows: read, and added to; never changed."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, LiteralString, cast

from liveweights.meter.price_book import PlanChange, PriceBook
from liveweights.meter.prices import EPOCH, PriceRow, Side, Source
from liveweights.store.database import Connection

LEAD = timedelta(seconds=60)
"""How long before it holds a price has to be there: clocks differ, and every process has to have
it before it says what an answer costs."""
_NAMES: tuple[LiteralString, ...] = (
    *("id", "since", "side", "model", "tenant", "plan", "currency"),
    *("input", "cached_input", "output", "reasoning", "request", "markup_ppm", "withheld"),
    *("source", "note", "withdrawn"),
)
assert [field.name for field in fields(PriceRow)] == list(_NAMES)
_SELECT: LiteralString = f"select {', '.join(_NAMES)} from prices"
_INSERT: LiteralString = (
    f"insert into prices ({', '.join(_NAMES[1:])})"
    f" values ({', '.join(f'%({name})s' for name in _NAMES[1:])}) returning id"
)
VERSION: LiteralString = (
    "(select coalesce(max(id), 0) from prices), (select coalesce(max(id), 0) from plan_changes)"
)
"""SQL for two numbers that change whenever a price or a plan is added."""


BUDGETED = """
select name, currency from tenants
where removed_at is null and (%(tenant)s::text is null or name = %(tenant)s) and (
    budgets <> '[]'
    or exists (select from tenant_credits where tenant = name)
    or exists (
        select from api_keys
        where tenant = tenants.name and revoked_at is null
            and coalesce(rights -> 'budgets', '[]') <> '[]'
    )
) order by name
"""
"""Tenants with a budget of their own or of a key, or with credit."""


class PriceError(ValueError):
    """A price or plan that cannot be added; the message says why."""


class CurrencyError(PriceError):
    """What a tenant may spend would be in two currencies, and nothing converts them; the message
    says what to do."""


class ForeignPrice(CurrencyError):
    """What ``tenant`` may spend is in one currency, and a price that it would pay in another."""

    def __init__(self, tenant: str, currency: str, price: PriceRow) -> None:
        super().__init__(
            f"the tenant {tenant!r} has a budget or credit in {currency}, and would pay for "
            f"{price.model or 'every model'} in {price.currency}: add a price in {currency} "
            f"with `liveweights prices add {price.model or '*'} --tenant {tenant} --currency "
            f"{currency}` first, or where it has paid nothing in advance, let its currency be "
            f"{price.currency} with `liveweights tenants set {tenant} --currency "
            f"{price.currency}`, and its budgets said anew there"
        )
        self.tenant = tenant
        self.currency = currency
        self.price = price


@dataclass(frozen=True, slots=True, kw_only=True)
class Sold:
    """What is known of a model that is sold: the country of its maker, and its licence's id."""

    model: str
    origin: str
    licence: str


async def read_prices(conn: Connection) -> list[PriceRow]:
    """All that were ever added, in that order."""
    cursor = await conn.execute(f"{_SELECT} order by id")
    return [_row(values) for values in await cursor.fetchall()]


async def read_plans(conn: Connection) -> list[PlanChange]:
    cursor = await conn.execute("select tenant, plan, since from plan_changes order by id")
    return [PlanChange(*values) for values in await cursor.fetchall()]


async def read_book(conn: Connection) -> PriceBook:
    return PriceBook(await read_prices(conn), await read_plans(conn))


async def add_price(
    conn: Connection, price: PriceRow, *, lead: timedelta = LEAD, default: bool = False
) -> PriceRow:
    """Add a price, in the caller's transaction; what was added. With ``default`` it holds as soon
    as ``lead`` allows, whatever its ``since``. Raises PriceError."""
    earliest = await _hold(conn) + lead
    if default:
        price = replace(price, since=earliest)
    if price.since < earliest:
        raise PriceError(
            f"a price cannot hold from {price.since:%Y-%m-%d %H:%M:%S%z} on: answers of then may "
            f"have been charged; say a time after {earliest:%Y-%m-%d %H:%M:%S%z}"
        )
    if price.markup_ppm is not None:
        await _check_markup(conn, price)
    added = await _insert(conn, price)
    if price.side == "sale":
        await _check_budgets(conn, None, added.since)
    return added


async def assign_plan(
    conn: Connection, tenant: str, plan: str, since: datetime | None = None
) -> datetime:
    """From ``since`` (None: as soon as may be) on the tenant pays the plan's prices, in the
    caller's transaction; from when on. Raises PriceError."""
    earliest = await _hold(conn) + LEAD
    when = earliest if since is None else since
    if when < earliest:
        raise PriceError(
            f"a plan cannot hold from {when:%Y-%m-%d %H:%M:%S%z} on: answers of then may have been "
            f"charged; say a time after {earliest:%Y-%m-%d %H:%M:%S%z}"
        )
    await conn.execute(
        "insert into plan_changes (tenant, plan, since) values (%s, %s, %s)", (tenant, plan, when)
    )
    await _check_budgets(conn, tenant, when)
    return when


async def check_currency(conn: Connection, tenant: str | None = None) -> None:
    """What the tenant (None: each) may spend is in the currency of the prices that it pays, from
    now on. In the caller's transaction, which has called ``reserve_prices`` before it locked
    anything: no price is added before its end. Raises CurrencyError."""
    await reserve_prices(conn)
    cursor = await conn.execute("select clock_timestamp()")
    (now,) = cast(tuple[datetime], await cursor.fetchone())
    await _check_budgets(conn, tenant, now)


async def settle_prices(
    conn: Connection,
    wanted: Mapping[str, PriceRow],
    source: Source,
    side: Side,
    *,
    of: Container[str] | None = None,
) -> int:
    """Let what ``source`` says of models (``of`` these, where they are given) be what it says now,
    from now on: add what is other than the last time, and withdraw it where a model is no longer
    among them. In the caller's transaction; how many rows were added."""
    await reserve_prices(conn)
    last = await _last(conn, source, side)
    gone = {
        model: PriceRow(since=EPOCH, model=model, side=side, source=source, withdrawn=True)
        for model in last
        if of is None or model in of
    }
    changed = [
        price
        for model, price in sorted((gone | dict(wanted)).items())
        if not _is_same(price, last.get(model))
    ]
    if not changed:
        return 0
    now = await _hold(conn)
    for price in changed:
        await _insert(conn, replace(price, since=now, source=source, side=side))
    return len(changed)


async def list_settled(conn: Connection, source: Source, side: Side) -> list[str]:
    """Models of which ``source`` says something that holds, by name."""
    last = await _last(conn, source, side)
    return [model for model, price in sorted(last.items()) if not price.withdrawn]


async def settle_sold(conn: Connection, sold: Iterable[Sold]) -> None:
    """Keep what is known of models now, in the caller's transaction."""
    for one in sorted(sold, key=lambda one: one.model):
        await conn.execute(
            "insert into sold_models (model, origin, licence) values (%s, %s, %s)"
            " on conflict (model) do update set origin = excluded.origin,"
            " licence = excluded.licence where (sold_models.origin, sold_models.licence)"
            " is distinct from (excluded.origin, excluded.licence)",
            (one.model, one.origin, one.licence),
        )


async def reserve_prices(conn: Connection) -> None:
    """Nobody else adds a price or a plan before the caller's transaction ends; answers are charged
    meanwhile. Whoever will lock rows of tenants, too, or add a plan, comes here first: in one order
    for all, nobody waits in a circle."""
    await conn.execute("lock table prices, plan_changes in share row exclusive mode")


async def _hold(conn: Connection) -> datetime:
    """The time, once nobody charges by the prices that were: whoever charges afterwards sees what
    this transaction adds."""
    await conn.execute("lock table prices, plan_changes in access exclusive mode")
    cursor = await conn.execute("select clock_timestamp()")
    return cast(tuple[datetime], await cursor.fetchone())[0]


async def _check_budgets(conn: Connection, tenant: str | None, since: datetime) -> None:
    """Of one tenant, or of all. Raises CurrencyError."""
    cursor = await conn.execute(BUDGETED, {"tenant": tenant})
    budgeted = cast(list[tuple[str, str]], await cursor.fetchall())
    if not budgeted:
        return
    book = await read_book(conn)
    for name, currency in budgeted:
        if (price := book.find_foreign(name, currency, since)) is not None:
            raise ForeignPrice(name, currency, price)


async def _check_markup(conn: Connection, price: PriceRow) -> None:
    book = await read_book(conn)
    costs = book.list_costs(price.since)
    models = {one.model for one in costs}
    for model in models if price.model is None else {price.model}:
        held = None if model is None else book.find(price.tenant or "", model, price.since)
        if held is None or held.cost is None or held.cost.currency != price.currency:
            raise PriceError(
                f"there is no cost of {model or 'every model'} in {price.currency} at that time "
                "for a markup; add one with `liveweights prices add --cost` first"
            )
    if not models:
        raise PriceError(
            "there is no model with a cost that a markup could be on; add one with "
            "`liveweights prices add --cost` first"
        )


async def _last(conn: Connection, source: Source, side: Side) -> dict[str, PriceRow]:
    cursor = await conn.execute(
        f"select distinct on (model) {', '.join(_NAMES)} from prices"
        " where source = %s and side = %s and model is not null order by model, id desc",
        (source, side),
    )
    found = [_row(values) for values in await cursor.fetchall()]
    return {price.model: price for price in found if price.model is not None}


def _is_same(price: PriceRow, last: PriceRow | None) -> bool:
    """Whether it says the same as the last one; without one, whether it takes back what was never
    said. A price of 0 says something: another, such as that of all models, does not hold."""
    if last is None:
        return price.withdrawn
    return replace(price, id=0, since=EPOCH) == replace(last, id=0, since=EPOCH)


async def _insert(conn: Connection, price: PriceRow) -> PriceRow:
    values = {name: getattr(price, name) for name in _NAMES[1:]}
    cursor = await conn.execute(_INSERT, values)
    return replace(price, id=cast(tuple[int], await cursor.fetchone())[0])


def _row(values: tuple[Any, ...]) -> PriceRow:
    return PriceRow(**dict(zip(_NAMES, values, strict=True)))
