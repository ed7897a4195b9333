"""The page of those who may use the console, and what an admin changes about them."""

from __future__ import annotations

from functools import partial

import msgspec

from liveweights.access.audit import Event
from liveweights.access.links import link_of
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
from liveweights.console.forms import Done, Form, Sent
from liveweights.console.subject import Asked, Subject
from liveweights.http.errors import ApiError, bad_request
from liveweights.store.database import Connection


class Users(msgspec.Struct, frozen=True, kw_only=True):
    """All of them, by name; few enough for one page."""

    users: tuple[User, ...]
    roles: tuple[Role, ...] = ROLES


async def read_users(conn: Connection, subject: Subject, asked: Asked) -> Users:
    """GET /users and GET /users.json: everybody."""
    return Users(users=tuple(await list_users(conn)))


async def change_users(oidc: bool, conn: Connection, subject: Subject, sent: Sent) -> Done:
    """Add a user or invite one, with a link that is shown once; change or remove one. ``oidc``:
    people sign in by a provider, too. Raises ApiError: 400, 404 for no such user, 409 where it
    cannot be done."""
    do, name, tenant = sent.get("do"), sent.text("name"), sent.get("tenant")
    token = None
    try:
        match do:
            case "add":
                token = await add_user(conn, name, _role(sent), tenant=tenant)
                event = Event("add user", name)
            case "invite":
                token = await invite_user(conn, name)
                event = Event("invite user", name)
            case "change":
                was = await set_role(conn, name, _role(sent), tenant=tenant, oidc=oidc)
                event = Event("change user", name, {"was": was.role, "of": was.tenant})
            case "remove":
                was = await remove_user(conn, name, oidc=oidc)
                event = Event("remove user", name, {"was": was.role, "of": was.tenant})
            case other:
                shown = (other or "")[:50]
                raise bad_request(f"'do' is {shown!r}: add, invite, change or remove.", "do")
    except UserError as error:
        raise ApiError(409, str(error), code="not_done") from None
    except UnknownUser as error:
        raise ApiError(404, str(error), code="not_found") from None
    once = {"link": link_of(sent.url, token), "invited": name} if token else None
    return Done(event=event, place="/users", once=once)


def make_form(oidc: bool) -> Form:
    """POST /users."""
    fields = ("name", "role", "tenant", "do")
    return Form(path="/users", fields=fields, do=partial(change_users, oidc), needed="admin")


def _role(sent: Sent) -> Role:
    given = sent.text("role")
    for role in ROLES:
        if role == given:
            return role
    raise bad_request(f"'role' is {given[:50]!r}; there are {', '.join(ROLES)}.", "role")
