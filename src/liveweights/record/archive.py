"""Days that are over: to Parquet files and out of Postgres, or dropped; and back again.

Rollups stay, so every dashboard does. Feedback for a generation whose day is not in Postgres is
refused as unknown.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
from psycopg_pool import PoolTimeout

from liveweights.record.clean import clip_person
from liveweights.record.forget import Also, Forgotten, forget
from liveweights.record.parquet import (
    ParquetUnavailable,
    find_value,
    hash_of,
    read_table,
    require_parquet,
    write_table,
)
from liveweights.record.settings import RecordSettings
from liveweights.store.database import Connection, Pool
from liveweights.store.partitions import TABLES, days, drop, ensure

log = logging.getLogger(__name__)

EVERY = 3600.0
TRIES = 20
"""How often a day is tried: its rows may change meanwhile, its tables may be in use."""


class ArchiveError(RuntimeError):
    """A day cannot be archived or brought back; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Archived:
    """A day and how many rows it had. ``files`` are SHA-256 by file name, none if dropped."""

    day: date
    generations: int
    feedback: int
    files: dict[str, str]
    archived_at: datetime
    restored_at: datetime | None


async def read_archives(conn: Connection) -> list[Archived]:
    """Every day that was ever archived, oldest first."""
    cursor = await conn.execute(
        "select day, generations, feedback, files, archived_at, restored_at"
        " from archives order by day"
    )
    return [Archived(*row) for row in await cursor.fetchall()]


async def find_due(conn: Connection, settings: RecordSettings, today: date) -> list[date]:
    """Days that the policy takes out of Postgres now, oldest first; none that were brought back."""
    if not settings.days:
        return []
    back = {one.day for one in await read_archives(conn) if one.restored_at}
    last = today - timedelta(days=settings.days)
    return [day for day in await days(conn) if day < last and day not in back]


AlsoArchived = Callable[[Connection, Archived], Awaitable[None]]


async def archive(
    conn: Connection, day: date, folder: Path | None, *, also: AlsoArchived | None = None
) -> Archived:
    """Take ``day`` out of Postgres, with its files in ``folder`` first; None drops it for good.
    ``also`` is awaited in the transaction that does.

    ``conn`` is outside any transaction. Killed anywhere, the rows are in Postgres, in complete
    files, or in both; the same call goes on. Writers wait for a moment at the end.

    Raises ArchiveError, ParquetUnavailable.
    """
    if day not in await days(conn):
        raise ArchiveError(f"Postgres has no rows of {day}")
    await conn.commit()
    if folder is not None:
        require_parquet()
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
    for attempt in range(TRIES):
        counts, last, files = await _write(conn, day, folder)
        try:
            async with conn.transaction():
                await conn.execute("set local lock_timeout = '500ms'")
                # The whole, as whoever writes locks it first: never in a circle.
                await conn.execute("lock table generations, feedback in access exclusive mode")
                if (counts, last) == await _look(conn, day):
                    await _drop(conn, day, counts, files)
                    if also is not None:
                        await also(conn, await _find(conn, day))
                    break
        except psycopg.errors.LockNotAvailable:
            await asyncio.sleep(0.1 * (attempt + 1))
    else:
        raise ArchiveError(f"{day} was in use for all of {TRIES} tries; try again later")
    async with conn.transaction():
        await conn.execute("delete from feedback_keys where day = %s", (day,))
        return await _find(conn, day)


async def restore(conn: Connection, day: date, folder: Path) -> Archived:
    """Bring the rows of ``day`` back from its files, in one transaction. The files stay.

    Raises ArchiveError, ParquetUnavailable.
    """
    require_parquet()
    async with conn.transaction():
        archived = await _find(conn, day)
        if not archived.files:
            raise ArchiveError(f"the rows of {day} were dropped without a file")
        if archived.restored_at:
            raise ArchiveError(f"{day} is in Postgres since {archived.restored_at:%Y-%m-%d %H:%M}")
        for name, digest in archived.files.items():
            await asyncio.to_thread(_check, folder / name, digest)
        await ensure(conn, [day])
        for table in TABLES:
            await read_table(conn, _file(folder, day, table), table)
        await conn.execute(
            "insert into feedback_keys (tenant, id, seq, generation, received_at, day)"
            " select tenant, id, seq, generation, received_at, day from feedback"
            " where day = %s order by seq on conflict do nothing",
            (day,),
        )
        await conn.execute("update archives set restored_at = now() where day = %s", (day,))
        return await _find(conn, day)


async def forget_everywhere(
    conn: Connection, tenant: str, user: str, folder: Path, *, also: Also | None = None
) -> tuple[Forgotten, list[date]]:
    """`forget`, in the files too: days that have rows of the user are brought back and archived
    anew; which those are. Raises ArchiveError, ParquetUnavailable."""
    user = clip_person(user)  # as it was recorded
    brought: list[date] = []
    for one in await read_archives(conn):
        if one.restored_at is None and one.files:
            require_parquet()
            file = _file(folder, one.day, "generations")
            await asyncio.to_thread(_check, file, one.files[file.name])
            if await asyncio.to_thread(find_value, file, "user_id", user):
                await conn.commit()
                await restore(conn, one.day, folder)
                brought.append(one.day)
    await conn.commit()
    forgotten = await forget(conn, tenant, user, also=also)
    await conn.commit()
    for day in brought:
        await archive(conn, day, folder)
    return forgotten, brought


async def keep_archiving(
    pool: Pool, settings: RecordSettings, folder: Path, *, every: float = EVERY
) -> None:
    """For ever: take out of Postgres what the policy says. What fails is tried again later."""
    while True:
        try:
            async with pool.connection() as conn:
                for day in await find_due(conn, settings, datetime.now(UTC).date()):
                    done = await archive(conn, day, folder if settings.archive else None)
                    log.info(
                        "%s: %d generations %s",
                        *(day, done.generations, "archived" if done.files else "dropped"),
                    )
        except (psycopg.OperationalError, PoolTimeout, ArchiveError, OSError) as error:
            log.warning("nothing was archived: %s", error)
        except ParquetUnavailable as error:
            log.error("nothing was archived: %s", error)
        await asyncio.sleep(every)


async def _find(conn: Connection, day: date) -> Archived:
    for one in await read_archives(conn):
        if one.day == day:
            return one
    raise ArchiveError(f"{day} was never archived; see `liveweights archive --list`")


async def _write(
    conn: Connection, day: date, folder: Path | None
) -> tuple[tuple[int, int], int, dict[str, str]]:
    """Row counts and the last feedback of one moment, and the files that hold it."""
    async with conn.transaction():
        await conn.execute("set transaction isolation level repeatable read")
        counts, last = await _look(conn, day)
        if folder is None:
            return counts, last, {}
        files: dict[str, str] = {}
        for table, count in zip(TABLES, counts, strict=True):
            file = _file(folder, day, table)
            written = await write_table(conn, table, day, file)
            if written != count:
                raise ArchiveError(f"{file} has {written} rows of {count}")
            files[file.name] = await asyncio.to_thread(hash_of, file)
    return counts, last, files


async def _look(conn: Connection, day: date) -> tuple[tuple[int, int], int]:
    """How many generations and feedback rows the day has, and the last feedback's number: what
    tells whether rows came or went."""
    cursor = await conn.execute(
        "select (select count(*) from generations where day = %(day)s), count(*),"
        " coalesce(max(seq), 0) from feedback where day = %(day)s",
        {"day": day},
    )
    row = await cursor.fetchone()
    assert row is not None
    return (row[0], row[1]), row[2]


async def _drop(conn: Connection, day: date, counts: Sequence[int], files: dict[str, str]) -> None:
    await drop(conn, day)
    await conn.execute(
        "insert into archives (day, generations, feedback, files) values (%s, %s, %s, %s)"
        " on conflict (day) do update set generations = excluded.generations,"
        " feedback = excluded.feedback, files = excluded.files, archived_at = now(),"
        " restored_at = null",
        (day, *counts, json.dumps(files)),
    )


def _file(folder: Path, day: date, table: str) -> Path:
    return folder / f"{day:%Y-%m-%d}.{table}.parquet"


def _check(file: Path, digest: str) -> None:
    if not file.is_file():
        raise ArchiveError(f"{file} is missing")
    if hash_of(file) != digest:
        raise ArchiveError(f"{file} is not the file that was written: its SHA-256 differs")
