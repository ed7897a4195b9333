"""API keys as rows: made, shown, rotated and revoked. A key itself is only ever returned once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from psycopg.types.json import Jsonb

from liveweights.meter.price_rows import check_currency, reserve_prices
from liveweights.meter.rights import EVERYTHING, Rights
from liveweights.meter.secret import PREFIX, Stored, id_of, make_id, make_key, seal, visible
from liveweights.meter.tenants import Unreadable, read_tenant
from liveweights.store.database import Connection

KeyName = Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=128)]
Why = Annotated[str, Meta(pattern=r"^[^\x00]*$", max_length=500)]
LONGEST_GRACE = 30 * 86400
Grace = Annotated[int, Meta(ge=0, le=LONGEST_GRACE)]
"""Seconds for which a key is still taken after it was rotated."""
State = Literal["live", "expired", "revoked"]
ATTEMPTS = 8
"""At an id that nobody has: among a million keys one in a million is taken."""


class UnknownKey(LookupError):
    """There is no such key, or it has ended; the message says which and why."""


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A key, without what would open anything. ``prefix`` is how it begins; until
    ``previous_until`` it is also taken as it was before its last rotation."""

    id: str
    prefix: str
    tenant: str
    name: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    revoked_why: str | None
    rotated_at: datetime | None
    previous_until: datetime | None
    rights: Rights

    def state(self, now: datetime) -> State:
        """What it is good for, in a word."""
        if self.revoked_at is not None:
            return "revoked"
        if self.expires_at is not None and self.expires_at <= now:
            return "expired"
        return "live"


@dataclass(frozen=True, slots=True)
class SealedKey:
    """What a key that is shown is compared with: ``current``, and until the row's
    ``previous_until`` also ``previous``."""

    row: KeyRow
    current: Stored
    previous: Stored | None


_SHOWN = (
    *("id", "tenant", "name", "created_at", "expires_at"),
    *("revoked_at", "revoked_why", "rotated_at", "previous_until", "rights"),
)
_COLUMNS = ", ".join(_SHOWN)
_SECRETS = "salt, hash, previous_salt, previous_hash"


def _row(values: Sequence[Any]) -> KeyRow:
    given = dict(zip(_SHOWN, values, strict=True))
    return msgspec.convert({**given, "prefix": visible(given["id"])}, KeyRow)


async def create_key(
    conn: Connection,
    tenant: str,
    *,
    name: str = "",
    expires_at: datetime | None = None,
    rights: Rights = EVERYTHING,
) -> tuple[KeyRow, str]:
    """The row and the key, which nobody can be told again. Raises TenantError, CurrencyError."""
    async with conn.transaction():
        await reserve_prices(conn)
        await read_tenant(conn, tenant, lock=True)
        for _ in range(ATTEMPTS):
            id = make_id()
            key = make_key(id)
            stored = seal(key)
            cursor = await conn.execute(
                "insert into api_keys (id, tenant, name, expires_at, rights, salt, hash)"
                " values (%s, %s, %s, %s, %s, %s, %s)"
                f" on conflict do nothing returning {_COLUMNS}".encode(),
                (id, tenant, name, expires_at, _json(rights), stored.salt, stored.hash),
            )
            if row := await cursor.fetchone():
                await check_currency(conn, tenant)
                return _row(row), key
    raise RuntimeError("no id for a key was free")


async def read_keys(
    conn: Connection, *, tenant: str | None = None, ended: bool = True
) -> list[KeyRow]:
    """The oldest first; where not ``ended``, only those that open something now."""
    cursor = await conn.execute(
        f"select {_COLUMNS} from api_keys"
        " where (%(tenant)s::text is null or tenant = %(tenant)s)"
        " and (%(ended)s or (revoked_at is null and coalesce(expires_at > now(), true)))"
        " order by created_at, id".encode(),
        {"tenant": tenant, "ended": ended},
    )
    return [_row(row) for row in await cursor.fetchall()]


async def list_keys(
    conn: Connection,
    count: int,
    *,
    tenant: str | None = None,
    before: tuple[datetime, str] | None = None,
) -> list[KeyRow]:
    """At most ``count``, the newest first, also those that ended; ``before`` is when the one that
    they follow was made, and its id."""
    at, id = before or (None, None)
    cursor = await conn.execute(
        f"select {_COLUMNS} from api_keys"
        " where (%(tenant)s::text is null or tenant = %(tenant)s)"
        " and (%(at)s::timestamptz is null or (created_at, id) < (%(at)s, %(id)s))"
        " order by created_at desc, id desc limit %(count)s".encode(),
        {"tenant": tenant, "at": at, "id": id, "count": count},
    )
    return [_row(row) for row in await cursor.fetchall()]


async def read_key(conn: Connection, key: str) -> KeyRow:
    """By its id, its prefix, or the whole of it. Raises UnknownKey."""
    return await _read(conn, _id(key), lock=False)


async def read_sealed(
    conn: Connection,
    ids: Sequence[str] | None = None,
    *,
    unreadable: Unreadable | None = None,
) -> list[SealedKey]:
    """Of these ids, or all. ``unreadable`` is told of rows that another version or somebody's SQL
    has written and this one does not know how to read; they are left out. Without it they raise
    msgspec.ValidationError."""
    cursor = await conn.execute(
        f"select {_COLUMNS}, {_SECRETS} from api_keys"
        " where %(ids)s::text[] is null or id = any(%(ids)s)".encode(),
        {"ids": None if ids is None else list(ids)},
    )
    found: list[SealedKey] = []
    for *shown, salt, hash, previous_salt, previous_hash in await cursor.fetchall():
        previous = None if previous_hash is None else Stored(previous_salt, previous_hash)
        try:
            row = _row(shown)
        except msgspec.ValidationError as error:
            if unreadable is None:
                raise
            unreadable(shown[0], error)
        else:
            found.append(SealedKey(row, Stored(salt, hash), previous))
    return found


async def rotate_key(conn: Connection, key: str, grace: timedelta) -> tuple[KeyRow, str]:
    """The row and what the key is from now on; it keeps its id, rights and budgets. For ``grace``
    it is also taken as it was. Raises UnknownKey."""
    id = _id(key)
    async with conn.transaction():
        await _read_live(conn, id)
        new = make_key(id)
        stored = seal(new)
        kept = grace > timedelta()
        cursor = await conn.execute(
            "update api_keys set salt = %(salt)s, hash = %(hash)s, rotated_at = now(),"
            " previous_salt = case when %(kept)s then salt end,"
            " previous_hash = case when %(kept)s then hash end,"
            " previous_until = case when %(kept)s then now() + %(grace)s end"
            f" where id = %(id)s returning {_COLUMNS}".encode(),
            {
                "id": id,
                "salt": stored.salt,
                "hash": stored.hash,
                "kept": kept,
                "grace": grace,
            },
        )
        return _row(await _one(cursor)), new


async def revoke_key(conn: Connection, key: str, why: str = "") -> KeyRow:
    """It opens nothing from now on. Raises UnknownKey, also for one that was revoked before."""
    id = _id(key)
    async with conn.transaction():
        await _read_live(conn, id)
        cursor = await conn.execute(
            "update api_keys set revoked_at = now(), revoked_why = %s"
            f" where id = %s returning {_COLUMNS}".encode(),
            (why or None, id),
        )
        return _row(await _one(cursor))


async def _read_live(conn: Connection, id: str) -> None:
    row = await _read(conn, id, lock=True)
    if row.revoked_at is not None:
        raise UnknownKey(f"the key {row.prefix} was revoked on {row.revoked_at:%Y-%m-%d %H:%M}")


async def _read(conn: Connection, id: str, *, lock: bool) -> KeyRow:
    locking = " for update" if lock else ""
    cursor = await conn.execute(
        f"select {_COLUMNS} from api_keys where id = %s{locking}".encode(), (id,)
    )
    row = await cursor.fetchone()
    if row is None:
        raise UnknownKey(f"there is no key {visible(id)!r}; `liveweights keys list` shows all")
    return _row(row)


async def _one(cursor: Any) -> Sequence[Any]:
    row = await cursor.fetchone()
    assert row is not None, "the row is locked"
    return row


def _id(key: str) -> str:
    """What it is kept under; a key that is shown in full is cut to what may be repeated."""
    return id_of(key) or key.removeprefix(PREFIX).replace("\0", "")[:16]


def _json(rights: Rights) -> Jsonb:
    empty = msgspec.to_builtins(EVERYTHING)
    said = msgspec.to_builtins(rights)
    return Jsonb({name: value for name, value in said.items() if value != empty[name]})
