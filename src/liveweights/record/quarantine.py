"""The table of rows that Postgres refused, where they hold up no others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from liveweights.record.batch import Charge, Fate, find_new, prepare, store
from liveweights.record.binary import decode
from liveweights.record.forget import NOT_FORGOTTEN, forgotten_key
from liveweights.record.refused import COPY, REACTION, Kind, Reaction, Refused
from liveweights.store.database import Connection
from liveweights.store.faults import Fault, fault_of
from liveweights.store.partitions import ensure

INSERT = f"""
insert into quarantine (kind, id, generation, tenant, user_id, reason, form, data, imported)
select %s, %s, %s, %s, %s, %s, %s, %s, %s where {NOT_FORGOTTEN}
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


async def keep(conn: Connection, row: Refused) -> bool:
    """In the caller's transaction, or at once in autocommit. Whether it is kept: an answer to what
    a user asked before being forgotten is not."""
    cursor = await conn.execute(
        INSERT,
        (
            *(row.kind, row.id, row.generation, row.tenant, row.user),
            *(row.reason, row.form, row.data, row.imported),
            *(forgotten_key(row.tenant, row.user), row.created_at),
        ),
    )
    return bool(cursor.rowcount)


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


async def retry(
    conn: Connection, *, charge: Charge | None = None, charge_imported: Charge | None = None
) -> tuple[int, int]:
    """Offer every row to its table again, oldest first: how many are there now and how many were
    refused again. Answers are booked by ``charge`` as a writer's are, those of an import by
    ``charge_imported``. ``conn`` is in autocommit. Raises psycopg.Error where the server is
    away."""
    columnstore = await prepare(conn)
    cursor = await conn.execute(
        "select number from quarantine where form = any(%s) order by number", ([COPY, REACTION],)
    )
    taken = still = 0
    for (number,) in await cursor.fetchall():
        try:
            async with conn.transaction():
                row = await _take(conn, number)
                if done := row is not None and await _offer(
                    conn,
                    row,
                    charge=charge_imported if row.imported else charge,
                    columnstore=columnstore,
                ):
                    await drop(conn, [number])
        except Exception as error:
            if fault_of(error) is Fault.SERVER:
                raise
            done = False
        taken, still = taken + done, still + (not done)
    return taken, still


@dataclass(frozen=True, slots=True)
class _Row:
    form: str
    data: bytes
    imported: bool


async def _take(conn: Connection, number: int) -> _Row | None:
    """One row, which nobody else takes before the caller's transaction ends."""
    cursor = await conn.execute(
        "select form, data, imported from quarantine where number = %s for update", (number,)
    )
    kept: tuple[Any, ...] | None = await cursor.fetchone()
    return None if kept is None else _Row(kept[0], bytes(kept[1]), kept[2])


async def _offer(conn: Connection, row: _Row, *, charge: Charge | None, columnstore: bool) -> bool:
    """Whether it is in its table now, in the caller's transaction."""
    if row.form == COPY:
        generation = decode(row.data)
        await ensure(conn, [generation.day])
        if new := await find_new(conn, [generation]):
            await store(conn, new, (), again=True, columnstore=columnstore, charge=charge)
        return True
    reaction = msgspec.json.decode(row.data, type=Reaction)
    (fate,) = await store(
        conn, (), [reaction.feedback], survived=[reaction.survived], columnstore=columnstore
    )
    return fate in (Fate.NEW, Fate.REPEAT)
