"""``liveweights keys``: API keys, made, shown, rotated and revoked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
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
    read_rights,
    read_route,
)
from liveweights.config import Config
from liveweights.meter import key_rows
from liveweights.meter.budgets import show_budgets
from liveweights.meter.key_rows import LONGEST_GRACE, KeyRow
from liveweights.meter.rights import USES
from liveweights.meter.settings import show_limits
from liveweights.store.database import Connection

keys = typer.Typer(
    no_args_is_help=True,
    help="API keys of tenants. A key is shown once, when it is made; what is stored opens nothing.",
)
Key = Annotated[str, typer.Argument(help="Its id, or how it begins: lw-...")]
WHEN = "%Y-%m-%d %H:%M"


@keys.command()
def create(
    tenant: Annotated[str, typer.Argument(help="Whose it is; see `liveweights tenants`.")],
    name: Annotated[str, typer.Option(help="What you call it.")] = "",
    use: Annotated[
        list[str] | None,
        typer.Option(help=f"What it is for: {', '.join(USES)}; default: all of them."),
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model it is for; default: all of them.")
    ] = None,
    endpoint: Annotated[
        list[str] | None,
        typer.Option(help="A path it is for, with all below it; default: all of them."),
    ] = None,
    days: Annotated[
        int | None, typer.Option(min=1, max=36_500, help="Until it expires; default: never.")
    ] = None,
    requests_per_minute: PerMinute = None,
    tokens_per_minute: Tokens = None,
    concurrency: AtOnce = None,
    budget: Money = None,
    route: Annotated[
        str | None,
        typer.Option(help="What its requests ask of a model that answers, as JSON; docs/terms.md."),
    ] = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Make a key, and print it: this once."""
    settings = read_config(config, home)
    limits = change_limits(
        None,
        requests=requests_per_minute,
        tokens=tokens_per_minute,
        concurrency=concurrency,
    )
    rights = read_rights(
        uses=use or (),
        models=model or (),
        endpoints=endpoint or (),
        limits=limits,
        budgets=read_budgets(budget),
        route=read_route(route),
    )
    _check_text(name, "--name", 128)
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)

    async def do(conn: Connection) -> tuple[tuple[KeyRow, str], Event]:
        made = await key_rows.create_key(
            conn, tenant, name=name, expires_at=expires_at, rights=rights
        )
        details = {"key": made[0].prefix, "name": name, "expires_at": expires_at, "rights": rights}
        return made, Event("create key", tenant, details)

    _tell(change(settings, home, do), settings, as_json)


@keys.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Option(help="Only this one's.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that expired or were revoked.")
    ] = False,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """List the stored keys, the oldest first. Those of the settings file are not among them."""

    async def ask(conn: Connection) -> list[KeyRow]:
        return await key_rows.read_keys(conn, tenant=tenant, ended=everything)

    found = query(read_config(config, home), home, ask)
    if as_json:
        show_json(found)
        return
    columns = ("prefix", "tenant", "name", "state", "created", "expires", "budgets")
    show([_shown(row) for row in found], columns, False)


@keys.command("show")
def show_key(key: Key, home: Home = HOME, config: Settings = None, as_json: Json = False) -> None:
    """Show what a key may do, and how much."""

    async def ask(conn: Connection) -> KeyRow:
        return await key_rows.read_key(conn, key)

    row = query(read_config(config, home), home, ask)
    if as_json:
        show_json(row)
        return
    for name, value in _shown(row).items():
        say(f"{name}: {value if value not in (None, '', []) else '-'}")


@keys.command()
def rotate(
    key: Key,
    grace: Annotated[
        int,
        typer.Option(
            min=0, max=LONGEST_GRACE // 60, help="Minutes for which it is also taken as it was."
        ),
    ] = 0,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Give a key another secret, and print it: this once. Its rights and budgets stay."""
    settings = read_config(config, home)

    async def do(conn: Connection) -> tuple[tuple[KeyRow, str], Event]:
        row, new = await key_rows.rotate_key(conn, key, timedelta(minutes=grace))
        details = {"key": row.prefix, "grace_seconds": 60 * grace}
        return (row, new), Event("rotate key", row.tenant, details)

    _tell(change(settings, home, do), settings, as_json)


@keys.command()
def revoke(
    key: Key,
    why: Annotated[str, typer.Option(help="Kept with the key.")] = "",
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """End a key: within a second it opens nothing more, on every instance."""
    _check_text(why, "--why", 500)

    async def do(conn: Connection) -> tuple[KeyRow, Event]:
        row = await key_rows.revoke_key(conn, key, why)
        return row, Event("revoke key", row.tenant, {"key": row.prefix, "why": why})

    row = change(read_config(config, home), home, do)
    say(f"{row.prefix} of {row.tenant} is revoked")


def _tell(made: tuple[KeyRow, str], settings: Config, as_json: bool) -> None:
    row, key = made
    if as_json:
        show_json({"key": key, "row": row})
        return
    say(key)
    say("This is shown once: keep it now.", err=True)
    if row.previous_until is not None:
        say(f"What it was is taken until {row.previous_until:{WHEN}} (UTC).", err=True)
    if not settings.api.asks_for_keys:
        message = (
            "The service answers without keys, too: set `[api] require_keys = true` and start it "
            "again."
        )
        say(message, fg="yellow", err=True)


def _shown(row: KeyRow) -> dict[str, Any]:
    rights = row.rights
    return {
        "prefix": row.prefix,
        "tenant": row.tenant,
        "name": row.name,
        "state": row.state(datetime.now(UTC)),
        "created": f"{row.created_at:{WHEN}}",
        "expires": row.expires_at and f"{row.expires_at:{WHEN}}",
        "rotated": row.rotated_at and f"{row.rotated_at:{WHEN}}",
        "revoked": row.revoked_at and f"{row.revoked_at:{WHEN}}",
        "why": row.revoked_why,
        "uses": ", ".join(rights.uses),
        "models": ", ".join(rights.models),
        "endpoints": ", ".join(rights.endpoints),
        "limits": show_limits(rights.limits),
        "budgets": show_budgets(rights.budgets),
        "route": msgspec.json.encode(rights.route).decode() if rights.route else "",
    }


def _check_text(text: str, option: str, longest: int) -> None:
    if len(text) > longest or "\0" in text:
        raise refuse(f"{option} has at most {longest} characters, and no NUL")
