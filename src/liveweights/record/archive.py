"""Days that are over: to Parquet files and out of Postgres, or dropped; and back again.

Rollups stay, so every dashboard does. Feedback for a generation whose day is not in Postgres is
refused as unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import date
from pathlib import Path

import psycopg

from liveweights.record.archive_lock import locked
from liveweights.record.archive_rows import (
    Archived,
    ArchiveError,
    find_archived,
    put_archived,
    read_archived,
    set_restored,
)
from liveweights.record.day_files import (
    Look,
    check_files,
    list_parts,
    look,
    part_of,
    remove_files,
    write_files,
)
from liveweights.record.dropping import count_read, drop_copies, keep_readers
from liveweights.record.hearings import hear_anew
from liveweights.record.parquet import merge_table, read_table, require_parquet
from liveweights.store.database import Connection
from liveweights.store.partitions import TABLES, days, drop, ensure

TRIES = 20
"""How often a day is tried: its rows may change meanwhile, its tables may be in use."""

AlsoArchived = Callable[[Connection, Archived], Awaitable[None]]


async def archive(
    conn: Connection,
    day: date,
    folder: Path,
    *,
    keep: bool = True,
    also: AlsoArchived | None = None,
) -> Archived:
    """Take ``day`` out of Postgres, with its files in ``folder`` first; without ``keep`` its rows
    are dropped for good. What was answered to its requests in the shadow or for a gate goes in any
    case. ``also`` is awaited in the transaction that does.

    Of a day that is in files already, Postgres has what came late: that goes to further files, or
    is dropped, and the files stay. ``conn`` is outside any transaction. Killed anywhere, the rows
    are in Postgres, in complete files, or in both; the same call goes on. Writers wait for a moment
    at the end, when all that takes long is done.

    Raises ArchiveError, ParquetUnavailable.
    """
    async with locked(conn):
        if day not in await days(conn):
            raise ArchiveError(f"Postgres has no rows of {day}")
        before = await read_archived(conn, day)
        await conn.commit()
        keep = keep or (before is not None and before.borrowed)
        if keep:
            require_parquet()
            await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        ready: tuple[Look, dict[str, str], dict[int, int] | None] | None = None
        for attempt in range(TRIES):
            if ready is None:
                seen, files = await _write(conn, day, folder if keep else None, before)
                ready = seen, files, await _prepare(conn, day, keep=keep)
            seen, files, read = ready
            try:
                async with conn.transaction():
                    await conn.execute("set local lock_timeout = '500ms'")
                    # The whole, as whoever writes locks it first: never in a circle.
                    await conn.execute("lock table generations, feedback in access exclusive mode")
                    if seen == await look(conn, day) and (
                        read is None or read == await count_read(conn, day)
                    ):
                        if before is not None and not before.is_away:
                            # Postgres has all of it: what is removed now is nowhere missed, and
                            # nothing is left that no row names.
                            await asyncio.to_thread(remove_files, folder, day, files)
                        await drop_copies(conn, day)  # that came since
                        await drop(conn, day)
                        await _put(conn, day, seen, files, before)
                        if also is not None:
                            await also(conn, await find_archived(conn, day))
                        break
                    ready = None
            except psycopg.errors.LockNotAvailable:
                await asyncio.sleep(0.1 * (attempt + 1))
        else:
            raise ArchiveError(f"{day} was in use for all of {TRIES} tries; try again later")
        async with conn.transaction():
            await conn.execute("delete from feedback_keys where day = %s", (day,))
            await conn.execute("delete from follow_ups where day = %s", (day,))
            return await find_archived(conn, day)


async def restore(
    conn: Connection,
    day: date,
    folder: Path,
    *,
    borrow: bool = False,
    also: AlsoArchived | None = None,
) -> Archived:
    """Bring the rows of ``day`` back from its files, in one transaction, in which ``also`` is
    awaited; what came late meanwhile stays, each row once. The files stay. ``borrow``: until
    ``archive`` takes it out again, which it does whatever the policy is.

    ``conn`` is outside any transaction. Raises ArchiveError, ParquetUnavailable.
    """
    require_parquet()
    async with locked(conn), conn.transaction():
        archived = await find_archived(conn, day)
        if not archived.borrowed:
            if not archived.files:
                raise ArchiveError(f"the rows of {day} were dropped without a file")
            if archived.restored_at:
                raise ArchiveError(
                    f"{day} is in Postgres since {archived.restored_at:%Y-%m-%d %H:%M}"
                )
            await asyncio.to_thread(check_files, folder, archived.files)
            await _read(conn, folder, archived)
        await set_restored(conn, day, borrowed=borrow)
        if not borrow:
            await hear_anew(conn, day)
        done = await find_archived(conn, day)
        if also is not None:
            await also(conn, done)
    return done


async def rewrite(conn: Connection, day: date, folder: Path) -> Archived:
    """Write the files of a day that was brought back anew, as Postgres has it; the day stays there.

    ``conn`` is outside any transaction. Raises ArchiveError, ParquetUnavailable.
    """
    require_parquet()
    async with locked(conn):
        restored = await find_archived(conn, day)
        await conn.commit()
        if restored.is_away:
            raise ArchiveError(f"{day} is not in Postgres")
        seen, files = await write_files(conn, day, folder, 1)
        await asyncio.to_thread(remove_files, folder, day, files)
        async with conn.transaction():
            await put_archived(conn, day, seen.counts, files, restored_at=restored.restored_at)
            return await find_archived(conn, day)


async def _write(
    conn: Connection, day: date, folder: Path | None, before: Archived | None
) -> tuple[Look, dict[str, str]]:
    """What Postgres has of the day, and the files that hold it, if any: none that a row names as
    the only place of what is in it."""
    seen = await look(conn, day)
    await conn.commit()
    away = before if before is not None and before.is_away else None
    if folder is None or (away and not any(seen.counts)):
        return seen, {}
    part = 1 + max(map(part_of, away.files), default=0) if away else 1
    return await write_files(conn, day, folder, part)


async def _prepare(conn: Connection, day: date, *, keep: bool) -> dict[int, int] | None:
    """All that can be done before writers have to wait; of a day that is not kept, of what rows
    the readers are noted."""
    async with conn.transaction():
        read = None if keep else await keep_readers(conn, day)
        await drop_copies(conn, day)
    return read


async def _put(
    conn: Connection, day: date, seen: Look, files: dict[str, str], before: Archived | None
) -> None:
    if before is None or not before.is_away:
        await put_archived(conn, day, seen.counts, files)
    elif files or not before.files:
        both = (before.generations + seen.generations, before.feedback + seen.feedback)
        await put_archived(conn, day, both, before.files | files)


async def _read(conn: Connection, folder: Path, archived: Archived) -> None:
    """Into the tables, in the caller's transaction."""
    await ensure(conn, [archived.day])
    empty = not any((await look(conn, archived.day)).counts)
    for table in TABLES:
        for number, name in enumerate(list_parts(archived.files, table)):
            read = read_table if empty and number == 0 else merge_table
            await read(conn, folder / name, table)
    await conn.execute(
        "insert into feedback_keys (tenant, id, seq, generation, received_at, day)"
        " select tenant, id, seq, generation, received_at, day from feedback"
        " where day = %s order by seq on conflict do nothing",
        (archived.day,),
    )
