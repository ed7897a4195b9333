"""``liveweights tenants``: who is served and billed."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from liveweights.access.audit import Event
from liveweights.cli.context import HOME, Home, Json, Settings, change, query, read_config, refuse
from liveweights.cli.output import say, show, show_json
from liveweights.cli.rights import (
    AtOnce,
    Money,
    PerMinute,
    Tokens,
    change_limits,
    read_budgets,
)
from liveweights.meter import tenants as rows
from liveweights.meter.budgets import show_budgets
from liveweights.meter.money import parse_money, show_money
from liveweights.meter.price_rows import reserve_prices
from liveweights.meter.settings import show_limits
from liveweights.meter.tenants import Tenant, TenantName, Terms
from liveweights.release.retention import remove_pruned
from liveweights.store.database import Connection
from liveweights.weights.registry import Registry

tenants = typer.Typer(
    no_args_is_help=True,
    help="Whom the service is for: each with its calendar, currency, limits and budgets.",
)
Name = Annotated[str, typer.Argument(help="As it stands in the record and on bills.")]
Zone = Annotated[
    str | None,
    typer.Option("--time-zone", help="In which its days and months begin, such as Europe/Berlin."),
]
Currency = Annotated[str | None, typer.Option(help="Three letters (ISO 4217), such as EUR.")]
Plan = Annotated[str | None, typer.Option(help="Whose prices it pays.")]
Note = Annotated[str | None, typer.Option(help="For yourself.")]


@tenants.command()
def create(
    name: Name,
    time_zone: Zone = None,
    currency: Currency = None,
    plan: Plan = None,
    note: Note = None,
    requests_per_minute: PerMinute = None,
    tokens_per_minute: Tokens = None,
    concurrency: AtOnce = None,
    budget: Money = None,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Make a tenant. Limits are those of each of its keys, budgets of all of them together."""
    said = _said(time_zone, currency, plan, note)
    limits = change_limits(
        None,
        requests=requests_per_minute,
        tokens=tokens_per_minute,
        concurrency=concurrency,
    )
    terms = _terms(said | {"limits": limits, "budgets": read_budgets(budget)})
    try:
        msgspec.convert(name, TenantName)
    except msgspec.ValidationError as error:
        raise refuse(f"the name {name[:128]!r}: {error}") from None

    async def do(conn: Connection) -> tuple[Tenant, Event]:
        made = await rows.create_tenant(conn, name, terms)
        return made, Event("create tenant", name, msgspec.structs.asdict(terms))

    tenant = change(read_config(config, home), home, do)
    say(f"the tenant {tenant.name} is there; `liveweights keys create {tenant.name}` makes a key")


@tenants.command("list")
def list_tenants(
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that were removed.")
    ] = False,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """List the tenants by name. Those that only the settings file names are not among them."""

    async def ask(conn: Connection) -> list[Tenant]:
        return await rows.read_tenants(conn)

    found = query(read_config(config, home), home, ask)
    shown = [tenant for tenant in found if everything or tenant.removed_at is None]
    if as_json:
        show_json(shown)
        return
    columns = ("name", "time_zone", "currency", "plan", "limits", "budgets", "note", "removed")
    show([_shown(tenant) for tenant in shown], columns, False)


@tenants.command("show")
def show_tenant(
    name: Name, home: Home = HOME, config: Settings = None, as_json: Json = False
) -> None:
    """Show one tenant."""

    async def ask(conn: Connection) -> Tenant:
        return await rows.read_tenant(conn, name)

    tenant = query(read_config(config, home), home, ask)
    if as_json:
        show_json(tenant)
        return
    for field, value in _shown(tenant).items():
        say(f"{field}: {value or '-'}")


@tenants.command("set")
def set_tenant(
    name: Name,
    time_zone: Zone = None,
    currency: Currency = None,
    plan: Plan = None,
    note: Note = None,
    requests_per_minute: PerMinute = None,
    tokens_per_minute: Tokens = None,
    concurrency: AtOnce = None,
    no_limits: Annotated[
        bool, typer.Option("--no-limits", help="Take its own limits away: the settings' hold.")
    ] = False,
    budget: Money = None,
    no_budgets: Annotated[
        bool, typer.Option("--no-budgets", help="Take its budgets away.")
    ] = False,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Change what is said, and leave the rest. Budgets that are given replace all there were."""
    changes = _said(time_zone, currency, plan, note)
    if budget is not None or no_budgets:
        changes["budgets"] = () if no_budgets else read_budgets(budget)
    said = {
        "requests": requests_per_minute,
        "tokens": tokens_per_minute,
        "concurrency": concurrency,
    }
    if not (changes or no_limits or any(value is not None for value in said.values())):
        raise refuse("nothing was said that could be changed")
    _terms(changes)

    async def do(conn: Connection) -> tuple[Tenant, Event]:
        await reserve_prices(conn)  # before the tenant, as all do who need both
        tenant = await rows.read_tenant(conn, name, lock=True)
        limits = None if no_limits else change_limits(tenant.limits, **said)
        given = {**changes, "limits": limits} if limits != tenant.limits else changes
        return await rows.set_tenant(conn, name, given), Event("change tenant", name, given)

    say(f"{change(read_config(config, home), home, do).name} is changed")


@tenants.command()
def credit(
    name: Name,
    amount: Annotated[
        str, typer.Argument(help="In its currency, such as 50.00; -5.00 takes back (after --).")
    ],
    why: Annotated[str, typer.Option(help="Such as an invoice's number; kept for ever.")],
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Say what a tenant has paid in advance. From the first time on it is answered only until its
    credit is used up."""
    try:
        nanos = parse_money(amount)
    except ValueError as error:
        raise refuse(str(error)) from None
    if not nanos or not why.strip() or len(why) > 500 or "\0" in why:
        raise refuse("the amount is not 0, and --why has 1 to 500 characters")

    async def do(conn: Connection) -> tuple[Tenant, Event]:
        tenant = await rows.add_credit(conn, name, nanos, why)
        return tenant, Event("add credit", name, {"nanos": nanos, "why": why})

    tenant = change(read_config(config, home), home, do)
    say(f"{name} has paid {show_money(tenant.credit or 0)} {tenant.currency} in advance so far")


@tenants.command()
def remove(name: Name, home: Home = HOME, config: Settings = None) -> None:
    """End a tenant: all of its keys are revoked. What was recorded, and what is owed, stays."""

    async def do(conn: Connection) -> tuple[int, Event]:
        revoked = await rows.remove_tenant(conn, name)
        return revoked, Event("remove tenant", name, {"revoked": revoked})

    revoked = change(read_config(config, home), home, do)
    say(f"{name} is removed; {revoked} keys are revoked")


@tenants.command()
def drop_adapters(
    name: Name, home: Home = HOME, config: Settings = None, as_json: Json = False
) -> None:
    """Take back and delete what was learnt from a tenant alone (`learn.per_tenant`).

    Its requests are answered by the shared checkpoint from then on. Its feedback stays, so that a
    new adapter may be learnt from it, and what the shared checkpoint learnt from it: for both see
    `liveweights forget`. Removing a tenant does the same.
    """
    # Cycles bring what learns: only where it is needed.
    from liveweights.cycle.tenants import forget_tenant

    settings = read_config(config, home)

    async def do(conn: Connection) -> tuple[list[str], Event | None]:
        gone = await forget_tenant(conn, name)
        return gone, Event("drop adapters", name, {"checkpoints": gone}) if gone else None

    async def tidy(conn: Connection) -> None:
        registry = Registry(home.resolve() / "checkpoints")
        await remove_pruned(conn, registry, settings.cache_folder())

    gone = change(settings, home, do)
    query(settings, home, tidy)
    if as_json:
        show_json(gone)
        return
    for checkpoint in gone:
        say(f"{checkpoint} is deleted")
    say(f"{name} is answered by what all have" if gone else f"{name} had no adapter of its own")


def _said(
    time_zone: str | None, currency: str | None, plan: str | None, note: str | None
) -> dict[str, Any]:
    pairs = {"time_zone": time_zone, "currency": currency, "plan": plan, "note": note}
    return {field: value for field, value in pairs.items() if value is not None}


def _terms(said: dict[str, Any]) -> Terms:
    """Ends the command for what no tenant can have."""
    try:
        return msgspec.convert(msgspec.to_builtins(said), Terms)
    except msgspec.ValidationError as error:
        raise refuse(str(error)) from None


def _shown(tenant: Tenant) -> dict[str, Any]:
    return {
        "name": tenant.name,
        "time_zone": tenant.time_zone,
        "currency": tenant.currency,
        "plan": tenant.plan,
        "limits": show_limits(tenant.limits),
        "budgets": show_budgets(tenant.budgets),
        "paid in advance": None if tenant.credit is None else show_money(tenant.credit),
        "note": tenant.note,
        "created": f"{tenant.created_at:%Y-%m-%d %H:%M}",
        "removed": tenant.removed_at and f"{tenant.removed_at:%Y-%m-%d %H:%M}",
    }
