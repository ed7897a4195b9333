"""The page of those who may use the console, and what an admin changes about them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from liveweights.access.roles import ROLES, Role
from liveweights.access.users import (
    UnknownUser,
    User,
    UserError,
    add_user,
    invite_user,
    list_users,
    remove_user,
    set_role,
)
from liveweights.console.person import Person
from liveweights.console.subject import Asked, Subject
from liveweights.http.errors import ApiError, bad_request
from liveweights.store.database import Connection

FORM = ("name", "role", "tenant", "do")


class Users(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, by name; few enough for one page."""

    users: tuple[User, ...]
    roles: tuple[Role, ...] = ROLES


async def read_users(conn: Connection) -> Users:
    """Everybody."""
    return Users(users=tuple(await list_users(conn)))


async def show_users(conn: Connection, subject: Subject, asked: Asked) -> Users:
    """GET /users and GET /users.json"""
    return await read_users(conn)


async def change_users(
    conn: Connection, person: Person, form: Mapping[str, str]
) -> tuple[str, str | None]:
    """Do what the form says; whom it was about, and the token of an invitation if there is one now.
    Raises ApiError: 400, 404 for no such user, 409 where it cannot be done."""
    name, tenant, actor = form.get("name", ""), form.get("tenant"), person.name
    try:
        match form.get("do"):
            case "add":
                return name, await add_user(conn, name, _role(form), tenant=tenant, actor=actor)
            case "invite":
                return name, await invite_user(conn, name, actor=actor)
            case "change":
                await set_role(conn, name, _role(form), tenant=tenant, actor=actor)
            case "remove":
                await remove_user(conn, name, actor=actor)
            case other:
                shown = (other or "")[:50]
                raise bad_request(f"'do' is {shown!r}: add, invite, change or remove.", "do")
    except UserError as error:
        raise ApiError(409, str(error), code="not_done") from None
    except UnknownUser as error:
        raise ApiError(404, str(error), code="not_found") from None
    return name, None


def _role(form: Mapping[str, str]) -> Role:
    given = form.get("role", "")
    for role in ROLES:
        if role == given:
            return role
    raise bad_request(f"'role' is {given[:50]!r}; there are {', '.join(ROLES)}.", "role")
