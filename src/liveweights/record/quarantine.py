"""The table of rows that Postgres refused, where they hold up no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import msgspec

from liveweights.record.batch import Fate, find_new, prepare, store
from liveweights.record.binary import decode
from liveweights.record.refused import COPY, REACTION, Kind, Reaction, Refused
from liveweights.store.database import Connection
from liveweights.store.faults import Fault, fault_of
from liveweights.store.partitions import ensure

INSERT = """
insert into quarantine (kind, id, generation, tenant, user_id, reason, form, data)
values (%(kind)s, %(id)s, %(generation)s, %(tenant)s, %(user)s, %(reason)s, %(form)s, %(data)s)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A row of the table, without its content. ``size`` is in bytes."""

    number: int
    at: datetime
    kind: Kind
    id: str
    tenant: str
    reason: str
    size: int


async def keep(conn: Connection, row: Refused) -> None:
    """In the caller's transaction, or at once in autocommit."""
    await conn.execute(INSERT, asdict(row))


async def count(conn: Connection) -> int:
    cursor = await conn.execute("select count(*) from quarantine")
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def read(conn: Connection, limit: int | None = None) -> list[Kept]:
    """The newest first."""
    cursor = await conn.execute(
        "select number, at, kind, id, tenant, reason, length(data) from quarantine"
        " order by number desc limit %s",
        (limit,),
    )
    names = ("number", "at", "kind", "id", "tenant", "reason", "size")
    return [Kept(**dict(zip(names, row, strict=True))) for row in await cursor.fetchall()]


async def drop(conn: Connection, numbers: Sequence[int]) -> int:
    """Remove them for good; how many there were."""
    cursor = await conn.execute("delete from quarantine where number = any(%s)", (list(numbers),))
    return cursor.rowcount


async def retry(conn: Connection) -> tuple[int, int]:
    """Offer every row to its table again, oldest first: how many are there now and how many were
    refused again. ``conn`` is in autocommit. Raises psycopg.Error where the server is away."""
    await prepare(conn)
    cursor = await conn.execute(
        "select number from quarantine where form = any(%s) order by number", ([COPY, REACTION],)
    )
    taken = still = 0
    for (number,) in await cursor.fetchall():
        try:
            async with conn.transaction():
                done = await _retry_one(conn, number)
        except Exception as error:
            if fault_of(error) is Fault.SERVER:
                raise
            done = False
        taken, still = taken + done, still + (not done)
    return taken, still


async def _retry_one(conn: Connection, number: int) -> bool:
    """In the caller's transaction, which also takes it out of quarantine."""
    cursor = await conn.execute(
        "select form, data from quarantine where number = %s for update", (number,)
    )
    kept: tuple[Any, ...] | None = await cursor.fetchone()
    if kept is None:
        return False
    form, data = kept[0], bytes(kept[1])
    if form == COPY:
        row = decode(data)
        await ensure(conn, [row.day])
        if new := await find_new(conn, [row]):
            await store(conn, new, ())
    else:
        reaction = msgspec.json.decode(data, type=Reaction)
        (fate,) = await store(conn, (), [reaction.feedback], survived=[reaction.survived])
        if fate not in (Fate.NEW, Fate.REPEAT):
            return False
    await drop(conn, [number])
    return True
