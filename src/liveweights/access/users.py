"""Users of the console as rows: added, changed, removed, and invited to choose a password."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import Any

import msgspec

from liveweights.access.audit import COMMAND, OPERATOR_KEY, Event, write_entry
from liveweights.access.roles import OF_TENANTS, Role
from liveweights.store.database import Connection

FIRST = "admin"
"""The user whom the first start invites."""
INVITED = timedelta(hours=24)
"""For which an invitation holds."""
_NAME = re.compile(r"[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]{0,127}")


class UserError(ValueError):
    """What was asked for cannot be done; the message says why."""


class UnknownUser(LookupError):
    """There is no such user."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """One user, without the password. ``tenant``: sees only this one's answers; None: all.
    ``added``: by somebody; else the start made it."""

    name: str
    role: Role
    tenant: str | None
    has_password: bool
    added: bool
    version: int
    created_at: datetime
    changed_at: datetime

    @property
    def stamp(self) -> str:
        """Another one as soon as sessions of before have ended; never one of a former user of this
        name."""
        return f"{self.created_at.timestamp():.6f}-{self.version}"


_COLUMNS = "name, role, tenant, password is not null, added, version, created_at, changed_at"


def _user(row: tuple[Any, ...]) -> User:
    return User(**dict(zip(User.__struct_fields__, row, strict=True)))


def check_user(name: str, role: Role, tenant: str | None) -> None:
    """Raises UserError."""
    if not _NAME.fullmatch(name) or name != name.strip():
        raise UserError("A user's name has 1 to 128 characters, on one line, without outer spaces.")
    if name in (COMMAND, OPERATOR_KEY):
        raise UserError(f"Nobody is called {name!r}: the audit says so of others.")
    if tenant is not None and role not in OF_TENANTS:
        raise UserError(f"A user of one tenant is {' or '.join(OF_TENANTS)}, not {role}.")
    if tenant is not None and not 0 < len(tenant) <= 512:
        raise UserError("A tenant's name has 1 to 512 characters.")


async def add_user(conn: Connection, name: str, role: Role, *, tenant: str | None = None) -> str:
    """A user without a password, and the token of an invitation to choose one. It takes the place
    of one whom a start made and whom nobody has been yet. Raises UserError."""
    check_user(name, role, tenant)
    async with conn.transaction():
        cursor = await conn.execute(
            "insert into console_users (name, role, tenant) values (%s, %s, %s) "
            "on conflict (name) do update set role = excluded.role, tenant = excluded.tenant, "
            "added = true, version = console_users.version + 1, changed_at = now() "
            "where not console_users.added and console_users.password is null returning name",
            (name, role, tenant),
        )
        if await cursor.fetchone() is None:
            raise UserError(f"There is a user {name!r} already.")
        return await _invite(conn, name)


async def invite_user(conn: Connection, name: str) -> str:
    """The token of an invitation to choose another password, which ends the ones before it. Raises
    UnknownUser."""
    async with conn.transaction():
        await find_user(conn, name)
        return await _invite(conn, name)


async def invite_first(conn: Connection) -> str | None:
    """The token of an invitation for the first admin; None where somebody has a password, and
    where somebody added a user of that name as anything else."""
    async with conn.transaction():
        if await has_users(conn):
            return None
        await conn.execute(
            "insert into console_users (name, role, added) values (%s, 'admin', false) "
            "on conflict (name) do update set role = 'admin', tenant = null "
            "where not console_users.added",
            (FIRST,),
        )
        first = await find_user(conn, FIRST)
        return await _invite(conn, FIRST) if first.role == "admin" else None


async def _invite(conn: Connection, name: str) -> str:
    token = secrets.token_urlsafe(32)
    await conn.execute(
        "delete from console_invitations where name = %s or expires_at < now()", (name,)
    )
    await conn.execute(
        "insert into console_invitations (digest, name, expires_at) values (%s, %s, now() + %s)",
        (_digest(token), name, INVITED),
    )
    return token


async def read_invitation(conn: Connection, token: str) -> str:
    """Who is invited by ``token``. Raises UnknownUser where it was used, or is over."""
    cursor = await conn.execute(
        "select name from console_invitations where digest = %s and expires_at > now()",
        (_digest(token),),
    )
    row = await cursor.fetchone()
    if row is None:
        raise UnknownUser("This link was used already, is over, or was replaced by a newer one.")
    return row[0]


async def accept_invitation(conn: Connection, token: str, password: str) -> User:
    """The user, who has this password (its hash) from now on, and no session of before. Raises
    UnknownUser as ``read_invitation``."""
    async with conn.transaction():
        cursor = await conn.execute(
            "delete from console_invitations where digest = %s and expires_at > now() "
            "returning name",
            (_digest(token),),
        )
        row = await cursor.fetchone()
        if row is None:
            raise UnknownUser(
                "This link was used already, is over, or was replaced by a newer one."
            )
        await conn.execute(
            "update console_users set password = %s, version = version + 1, changed_at = now() "
            "where name = %s",
            (password, row[0]),
        )
        await write_entry(conn, row[0], Event("choose password", row[0]))
        return await find_user(conn, row[0])


async def set_role(
    conn: Connection, name: str, role: Role, *, tenant: str | None = None, oidc: bool = False
) -> User:
    """Give a user another role, which ends its sessions; the user as it was. ``oidc``: people sign
    in by a provider, too. Raises UserError, UnknownUser."""
    check_user(name, role, tenant)
    async with conn.transaction():
        before = await find_user(conn, name, lock=True)
        if before.role == "admin" and role != "admin":
            await _check_last(conn, name, oidc)
        await conn.execute(
            "update console_users set role = %s, tenant = %s, version = version + 1, "
            "changed_at = now() where name = %s",
            (role, tenant, name),
        )
    return before


async def remove_user(conn: Connection, name: str, *, oidc: bool = False) -> User:
    """End a user and its sessions; who it was. ``oidc`` as in ``set_role``. Raises UnknownUser,
    UserError."""
    async with conn.transaction():
        before = await find_user(conn, name, lock=True)
        if before.role == "admin":
            await _check_last(conn, name, oidc)
        await conn.execute("delete from console_users where name = %s", (name,))
    return before


async def _check_last(conn: Connection, name: str, oidc: bool) -> None:
    """Without an admin who can sign in the console would be open again, or closed to all."""
    cursor = await conn.execute(
        "select name, password is not null or (%s and added) from console_users "
        "where role = 'admin' for update",
        (oidc,),
    )
    if {admin for admin, enters in await cursor.fetchall() if enters} == {name}:
        raise UserError(f"{name!r} is the last admin; make another one first.")


async def find_user(conn: Connection, name: str, *, lock: bool = False) -> User:
    """Raises UnknownUser."""
    locking = " for update" if lock else ""
    cursor = await conn.execute(
        f"select {_COLUMNS} from console_users where name = %s{locking}".encode(), (name,)
    )
    row = await cursor.fetchone()
    if row is None:
        raise UnknownUser(f"There is no user {name[:128]!r}.")
    return _user(row)


async def find_added(conn: Connection, name: str) -> User:
    """Raises UnknownUser, also of whom nobody added: a name that others give says nothing there."""
    user = await find_user(conn, name)
    if not user.added:
        raise UnknownUser(f"Nobody added the user {name[:128]!r}.")
    return user


async def list_users(conn: Connection) -> list[User]:
    """All of them, by name."""
    cursor = await conn.execute(f"select {_COLUMNS} from console_users order by name".encode())
    return [_user(row) for row in await cursor.fetchall()]


async def has_users(conn: Connection) -> bool:
    """Whether anybody has a password."""
    cursor = await conn.execute(
        "select exists (select from console_users where password is not null)"
    )
    row = await cursor.fetchone()
    return row is not None and row[0]


async def read_password(conn: Connection, name: str) -> str | None:
    """The hash of a user's password; None for nobody, and for who has chosen none."""
    cursor = await conn.execute("select password from console_users where name = %s", (name,))
    row = await cursor.fetchone()
    return None if row is None else row[0]


async def read_secret(conn: Connection) -> bytes:
    """By what sessions are signed; made at the first use."""
    await conn.execute(
        "insert into console_secrets (secret) values (%s) on conflict do nothing",
        (secrets.token_bytes(32),),
    )
    cursor = await conn.execute("select secret from console_secrets")
    row = await cursor.fetchone()
    assert row is not None
    return bytes(row[0])


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
