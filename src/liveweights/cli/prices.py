"""``liveweights prices``: what answers cost, for whom, and from when on."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer

from liveweights.access.audit import Event
from liveweights.cli.context import HOME, Home, Json, Settings, change, query, read_config, refuse
from liveweights.cli.output import say, show
from liveweights.meter.invoice_pages import show_price
from liveweights.meter.money import parse_money, scaled
from liveweights.meter.price_rows import (
    PriceError,
    add_price,
    assign_plan,
    read_plans,
    read_prices,
)
from liveweights.meter.prices import PriceRow
from liveweights.meter.tenants import find_zone
from liveweights.store.database import Connection

prices = typer.Typer(
    no_args_is_help=True,
    help="What answers cost, for whom, and from when on. Prices are added, and never changed.",
)

Zone = Annotated[str, typer.Option(help="Time zone of a time that names none.")]
From = Annotated[
    str | None,
    typer.Option("--from", help="From when on, such as 2026-11-01T00:00; default: in a minute."),
]
Amount = Annotated[str | None, typer.Option(help="Per million tokens, such as 0.15.")]


@prices.command("list")
def list_prices(
    model: Annotated[str | None, typer.Option(help="Public name; default: all.")] = None,
    history: Annotated[bool, typer.Option(help="Also those that hold no more.")] = False,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """List prices, per million tokens: ours, and what upstreams ask (side `cost`)."""
    found = query(read_config(config, home), home, read_prices)
    now = datetime.now(UTC)
    chosen = [
        one
        for one in found
        if model in (None, one.model) and (history or not _is_past(one, found, now))
    ]
    if as_json:
        show([asdict(one) for one in chosen], (), True)
        return
    show([_shown(one) for one in chosen], ("id", "from", "for", "model", "price"), False)


@prices.command()
def add(
    model: Annotated[str, typer.Argument(help="Public name; `*`: every model.")],
    input: Amount = None,
    output: Amount = None,
    cached_input: Annotated[
        str | None, typer.Option(help="Of prompts from a cache; default: as --input.")
    ] = None,
    reasoning: Annotated[
        str | None, typer.Option(help="Of thought before the answer; default: as --output.")
    ] = None,
    request: Annotated[str, typer.Option(help="Per request.")] = "0",
    markup: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1000,
            help="Charge what the upstream asks, too, with this share on top: 0.2 is 20%.",
        ),
    ] = None,
    currency: Annotated[str, typer.Option(help="ISO 4217.")] = "USD",
    tenant: Annotated[str | None, typer.Option(help="For this tenant only.")] = None,
    plan: Annotated[str | None, typer.Option(help="For tenants on this plan only.")] = None,
    cost: Annotated[
        bool, typer.Option("--cost", help="What an upstream asks of you, not what you ask.")
    ] = False,
    charge_withheld: Annotated[
        bool, typer.Option(help="Charge answers that were sampled and not shown, too.")
    ] = False,
    since: From = None,
    zone: Zone = "UTC",
    note: Annotated[str, typer.Option(help="Kept with it.")] = "",
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Add a price. What was charged before stays as it is."""
    if tenant is not None and plan is not None:
        raise refuse("a price is for a tenant or for a plan: say one of --tenant and --plan")
    if cost and (tenant or plan or markup is not None):
        raise refuse("what an upstream asks has no tenant, plan or markup; leave these out")
    if not (len(currency) == 3 and currency.isascii() and currency.isupper()):
        raise refuse(f"{currency[:20]!r} is no currency; say its code, such as USD or EUR")
    price = PriceRow(
        since=_time(since, zone) or datetime.now(UTC),
        side="cost" if cost else "sale",
        model=None if model == "*" else model,
        tenant=tenant,
        plan=plan,
        currency=currency,
        markup_ppm=None if markup is None else _ppm(markup),
        withheld="charged" if charge_withheld else "free",
        note=note,
        input=_nanos("input", input or "0"),
        cached_input=_nanos("cached-input", cached_input or input or "0"),
        output=_nanos("output", output or "0"),
        reasoning=_nanos("reasoning", reasoning or output or "0"),
        request=_nanos("request", request),
    )

    async def do(conn: Connection) -> tuple[PriceRow, Event]:
        added = await add_price(conn, price, default=since is None)
        return added, Event("add price", model, asdict(added))

    try:
        added = change(read_config(config, home), home, do)
    except PriceError as error:
        raise refuse(str(error)) from error
    say(f"price {added.id} holds from {added.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC on")


@prices.command()
def plan(
    tenant: Annotated[str, typer.Argument(help="Whose plan it is.")],
    name: Annotated[str, typer.Argument(help="The plan; empty: none.")],
    since: From = None,
    zone: Zone = "UTC",
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Put a tenant on a plan, whose prices it pays from then on."""
    when = _time(since, zone)

    async def do(conn: Connection) -> tuple[datetime, Event]:
        begins = await assign_plan(conn, tenant, name, when)
        return begins, Event("assign plan", tenant, {"plan": name, "since": begins})

    try:
        begins = change(read_config(config, home), home, do)
    except PriceError as error:
        raise refuse(str(error)) from error
    what = f"the plan {name!r}" if name else "no plan"
    say(f"{tenant} is on {what} from {begins.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC on")


@prices.command("plans")
def list_plans(home: Home = HOME, config: Settings = None, as_json: Json = False) -> None:
    """List which tenant was put on which plan, and from when on."""
    found = [asdict(one) for one in query(read_config(config, home), home, read_plans)]
    if not as_json:
        found = [one | {"since": f"{one['since']:%Y-%m-%d %H:%M}"} for one in found]
    show(found, ("tenant", "plan", "since"), as_json)


def _is_past(price: PriceRow, among: list[PriceRow], now: datetime) -> bool:
    """Whether another one has taken its place, or it says that none has."""
    place = _place(price)
    return (price.withdrawn and price.since <= now) or any(
        _place(other) == place
        and (price.since, price.id) < (other.since, other.id)
        and other.since <= now
        for other in among
    )


def _place(price: PriceRow) -> tuple[object, ...]:
    return price.side, price.model, price.tenant, price.plan, price.source == "operator"


def _shown(price: PriceRow) -> dict[str, Any]:
    whose = price.tenant or (f"plan {price.plan}" if price.plan is not None else "everybody")
    said = f"{price.currency} {show_price(price)}"
    if price.withdrawn:
        said = "withdrawn"
    if price.withheld == "charged":
        said += "; also what is not shown"
    return {
        "id": price.id,
        "from": f"{price.since.astimezone(UTC):%Y-%m-%d %H:%M}",
        "for": "us, by the upstream" if price.side == "cost" else whose,
        "model": price.model or "*",
        "price": said if price.source == "operator" else f"{said} ({price.source})",
    }


def _nanos(name: str, text: str) -> int:
    try:
        nanos = parse_money(text)
    except ValueError as error:
        raise refuse(f"--{name}: {error}") from error
    if not 0 <= nanos <= 10**15:
        raise refuse(f"--{name}: say an amount from 0 to a million")
    return nanos


def _ppm(share: float) -> int:
    try:
        return scaled(share, 6)
    except ValueError as error:
        raise refuse(f"--markup: {error}") from error


def _time(text: str | None, zone: str) -> datetime | None:
    if text is None:
        return None
    try:
        where: ZoneInfo = find_zone(zone)
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise refuse(
            f"{error}; write a time as 2026-11-01T00:00, with --zone Europe/Berlin where it is not "
            "UTC"
        ) from error
    return (at if at.tzinfo else at.replace(tzinfo=where)).astimezone(UTC)
