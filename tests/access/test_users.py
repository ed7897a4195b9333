from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg
import pytest

from liveweights.access.audit import read_entries
from liveweights.access.roles import ROLES, allows
from liveweights.access.users import (
    UnknownUser,
    UserError,
    accept_invitation,
    add_user,
    find_added,
    find_user,
    has_users,
    invite_first,
    invite_user,
    list_users,
    read_invitation,
    read_password,
    read_secret,
    remove_user,
    set_role,
)
from liveweights.store.database import Connection
from liveweights.store.migrate import migrate, packaged


def on_database(dsn: str, test: Callable[[Connection], Awaitable[None]]) -> None:
    async def go() -> None:
        async with await Connection.connect(dsn) as conn:
            await test(conn)

    asyncio.run(go())


def test_each_role_may_what_those_before_it_may() -> None:
    for place, role in enumerate(ROLES):
        assert [allows(role, needed) for needed in ROLES] == [n <= place for n in range(4)]


def test_a_user_is_invited_once_and_no_change_is_lost(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        first = await invite_first(conn)
        second = await invite_first(conn)  # the service was started again
        assert first is not None
        assert second is not None
        with pytest.raises(UnknownUser):
            await read_invitation(conn, first)
        assert await read_invitation(conn, second) == "admin"
        assert not await has_users(conn)
        admin = await accept_invitation(conn, second, "hash")
        assert (admin.role, admin.has_password) == ("admin", True)
        with pytest.raises(UnknownUser):
            await accept_invitation(conn, second, "other")
        assert await read_password(conn, "admin") == "hash"
        assert await invite_first(conn) is None
        token = await add_user(conn, "<b>ada</b>", "rater", tenant="acme")
        ada = await accept_invitation(conn, token, "hash")
        with pytest.raises(UserError, match="already"):
            await add_user(conn, "<b>ada</b>", "viewer")
        await set_role(conn, ada.name, "operator")
        changed = await find_user(conn, ada.name)
        assert (changed.role, changed.tenant) == ("operator", None)
        assert changed.stamp != ada.stamp
        await invite_user(conn, ada.name)
        await remove_user(conn, ada.name)
        again = await add_user(conn, ada.name, "viewer")
        assert (await accept_invitation(conn, again, "hash")).stamp != ada.stamp
        assert [one.name for one in await list_users(conn)] == ["<b>ada</b>", "admin"]
        entries = await read_entries(conn, None, 99)
        assert [(one.actor, one.action) for one in reversed(entries)] == [
            ("admin", "choose password"),
            ("<b>ada</b>", "choose password"),
            ("<b>ada</b>", "choose password"),
        ]
        assert await read_entries(conn, entries[-2].id, 99) == entries[-1:]
        assert await read_secret(conn) == await read_secret(conn)
        for losing in ("delete from audit", "update audit set actor = 'eve'", "truncate audit"):
            with pytest.raises(psycopg.errors.RaiseException):
                async with conn.transaction():
                    await conn.execute(losing.encode())

    on_database(database_dsn, test)


def test_whom_a_start_made_is_told_from_whom_somebody_added(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        link = await invite_first(conn)
        assert link is not None
        with pytest.raises(UnknownUser, match="Nobody added"):
            await find_added(conn, "admin")
        made = await find_user(conn, "admin")
        await add_user(conn, "admin", "viewer")  # it takes the place of the one that was made
        added = await find_added(conn, "admin")
        assert (added.role, added.stamp == made.stamp) == ("viewer", False)
        with pytest.raises(UnknownUser):
            await read_invitation(conn, link)
        # Another start does not make an admin of whom somebody added as a viewer.
        assert await invite_first(conn) is None
        assert (await find_user(conn, "admin")).role == "viewer"
        await set_role(conn, "admin", "admin")
        assert await invite_first(conn) is not None
        await remove_user(conn, "admin")
        link = await invite_first(conn)
        assert link is not None
        await accept_invitation(conn, link, "hash")
        with pytest.raises(UserError, match="already"):
            await add_user(conn, "admin", "viewer")
        with pytest.raises(UnknownUser, match="Nobody added"):
            await find_added(conn, "admin")

    on_database(database_dsn, test)


def test_what_cannot_be_done_is_refused(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        token = await invite_first(conn)
        assert token is not None
        await accept_invitation(conn, token, "hash")
        await add_user(conn, "invited", "admin")  # cannot sign in yet
        for change in (
            remove_user(conn, "admin"),
            set_role(conn, "admin", "viewer"),
        ):
            with pytest.raises(UserError, match="last admin"):
                await change
        for name in ("", " x", "x\n", "x" * 129, "\x1b[2J"):
            with pytest.raises(UserError, match="128 characters"):
                await add_user(conn, name, "viewer")
        for name in ("command", "operator key"):
            with pytest.raises(UserError, match="Nobody is called"):
                await add_user(conn, name, "viewer")
        with pytest.raises(UserError, match="one tenant"):
            await add_user(conn, "ada", "operator", tenant="acme")
        for lookup in (
            find_user(conn, "nobody"),
            invite_user(conn, "nobody"),
            remove_user(conn, "nobody"),
            read_invitation(conn, "nothing"),
        ):
            with pytest.raises(UnknownUser):
                await lookup
        await conn.execute("update console_invitations set expires_at = now()")
        late = await invite_user(conn, "admin")
        await conn.execute("update console_invitations set expires_at = now()")
        with pytest.raises(UnknownUser):
            await accept_invitation(conn, late, "hash")

    on_database(database_dsn, test)


def test_an_admin_stays_who_can_sign_in_by_whichever_way(database_dsn: str) -> None:
    """By a provider sign in those whom somebody added, who need no password."""

    async def test(conn: Connection) -> None:
        await add_user(conn, "ada@example.com", "admin")
        for change in (
            remove_user(conn, "ada@example.com", oidc=True),
            set_role(conn, "ada@example.com", "viewer", oidc=True),
        ):
            with pytest.raises(UserError, match="last admin"):
                await change
        token = await invite_first(conn)
        assert token is not None
        # Whom a start made signs in by no provider.
        with pytest.raises(UserError, match="last admin"):
            await remove_user(conn, "ada@example.com", oidc=True)
        await accept_invitation(conn, token, "hash")
        await set_role(conn, "admin", "viewer", oidc=True)
        with pytest.raises(UserError, match="last admin"):
            await remove_user(conn, "ada@example.com", oidc=True)
        await set_role(conn, "admin", "admin")
        await remove_user(conn, "ada@example.com", oidc=True)
        with pytest.raises(UserError, match="last admin"):
            await remove_user(conn, "admin", oidc=True)

    on_database(database_dsn, test)


def test_the_admin_whom_a_start_of_before_made_is_known_as_such(empty_dsn: str) -> None:
    every = packaged()
    place = next(n for n, one in enumerate(every) if one.name.endswith("_added_users.sql"))
    migrate(empty_dsn, every[:place])
    with psycopg.connect(empty_dsn) as conn:
        conn.execute(
            "insert into console_users (name, role) values ('admin', 'admin'), ('a', 'admin')"
        )
    migrate(empty_dsn)

    async def test(conn: Connection) -> None:
        assert [(one.name, one.added) for one in await list_users(conn)] == [
            ("a", True),
            ("admin", False),
        ]

    on_database(empty_dsn, test)
