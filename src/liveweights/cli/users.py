"""``liveweights users``: who may use the console."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, TypeVar

import typer

from liveweights.access.audit import Do, Event
from liveweights.access.links import link_of
from liveweights.access.roles import Role
from liveweights.access.users import (
    User,
    UserError,
    add_user,
    invite_user,
    list_users,
    remove_user,
    set_role,
)
from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Settings,
    change,
    find_url,
    query,
    read_config,
    refuse,
)
from liveweights.cli.output import say, show, show_json
from liveweights.store.database import Connection

users = typer.Typer(
    no_args_is_help=True,
    help="People who may use the console: what each may do there, and links by which they choose"
    " their passwords.",
)
T = TypeVar("T")
Name = Annotated[str, typer.Argument(help="By which they sign in.")]
May = Annotated[
    Role,
    typer.Option(
        "--role",
        help="viewer: sees; rater: also says what answers are worth; operator: also changes what"
        " answers; admin: also says who may what.",
    ),
]
Whose = Annotated[
    str | None,
    typer.Option("--tenant", help="Whose answers a viewer or rater sees; default: everybody's."),
]
Url = Annotated[
    str, typer.Option(help="Under which the console is reached; default: the running service's.")
]


@users.command()
def add(
    name: Name,
    role: May = "viewer",
    tenant: Whose = None,
    url: Url = "",
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Add a user, and print a link by which they choose a password: once, within 24 hours."""

    async def do(conn: Connection) -> tuple[str, Event]:
        token = await add_user(conn, name, role, tenant=tenant)
        return token, Event("add user", name, {"role": role, "tenant": tenant})

    _tell(_change(home, config, do), url, home, config)


@users.command()
def invite(name: Name, url: Url = "", home: Home = HOME, config: Settings = None) -> None:
    """Print another link; it ends the one before. The password stays until another is chosen."""

    async def do(conn: Connection) -> tuple[str, Event]:
        return await invite_user(conn, name), Event("invite user", name)

    _tell(_change(home, config, do), url, home, config)


@users.command("set")
def set_user(
    name: Name,
    role: May,
    tenant: Whose = None,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Give a user another role; they sign in again."""
    oidc = bool(read_config(config, home).oidc.issuer)

    async def do(conn: Connection) -> tuple[None, Event]:
        was = await set_role(conn, name, role, tenant=tenant, oidc=oidc)
        details = {"role": role, "tenant": tenant, "was": was.role, "of": was.tenant}
        return None, Event("change user", name, details)

    _change(home, config, do)
    say(f"{name} is {role}")


@users.command()
def remove(name: Name, home: Home = HOME, config: Settings = None) -> None:
    """End a user, and what they are signed in with, at once."""
    oidc = bool(read_config(config, home).oidc.issuer)

    async def do(conn: Connection) -> tuple[None, Event]:
        was = await remove_user(conn, name, oidc=oidc)
        return None, Event("remove user", name, {"was": was.role, "of": was.tenant})

    _change(home, config, do)
    say(f"{name} is removed")


@users.command("list")
def list_all(home: Home = HOME, config: Settings = None, as_json: Json = False) -> None:
    """List the users, by name."""
    listed: list[User] = query(read_config(config, home), home, list_users)
    if as_json:
        show_json(listed)
        return
    rows = [
        {
            "name": one.name,
            "role": one.role,
            "tenant": one.tenant or "all",
            "password": "chosen" if one.has_password else "none yet",
            "added": f"{one.created_at:%Y-%m-%d %H:%M}",
        }
        for one in listed
    ]
    show(rows, ("name", "role", "tenant", "password", "added"), False)


def _change(home: Path, config: Path | None, do: Do[T]) -> T:
    try:
        return change(read_config(config, home), home, do)
    except UserError as error:
        raise refuse(str(error)) from error


def _tell(token: str, url: str, home: Path, config: Path | None) -> None:
    say(link_of(find_url(url, read_config(config, home), home), token))
    say("It works once, within 24 hours.", err=True)
