"""The table of days whose rows went to files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, datetime

from liveweights.store.database import Connection

_PUT = """
insert into archives (day, generations, feedback, files, restored_at)
values (%(day)s, %(generations)s, %(feedback)s, %(files)s, %(restored_at)s)
on conflict (day) do update set generations = excluded.generations,
    feedback = excluded.feedback, files = excluded.files, archived_at = now(),
    restored_at = excluded.restored_at, borrowed = false
"""


class ArchiveError(RuntimeError):
    """A day cannot be archived or brought back; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Archived:
    """A day and how many rows its files hold, or it had where they were dropped. ``files`` are
    SHA-256 by file name, none if dropped. ``borrowed``: it is back only until a user is out of its
    files. ``uncounted``: who asked on it only is not among the active users."""

    day: date
    generations: int
    feedback: int
    files: dict[str, str]
    archived_at: datetime
    restored_at: datetime | None
    borrowed: bool = False
    uncounted: bool = False

    @property
    def is_away(self) -> bool:
        """Whether its rows, but for late ones, are not in Postgres."""
        return self.restored_at is None


async def read_archives(conn: Connection) -> list[Archived]:
    """Every day that was ever archived, oldest first."""
    cursor = await conn.execute(
        "select day, generations, feedback, files, archived_at, restored_at, borrowed, uncounted"
        " from archives order by day"
    )
    return [Archived(*row) for row in await cursor.fetchall()]


async def read_archived(conn: Connection, day: date) -> Archived | None:
    return next((one for one in await read_archives(conn) if one.day == day), None)


async def find_archived(conn: Connection, day: date) -> Archived:
    """Raises ArchiveError."""
    found = await read_archived(conn, day)
    if found is None:
        raise ArchiveError(f"{day} was never archived; see `liveweights archive --list`")
    return found


async def put_archived(
    conn: Connection,
    day: date,
    counts: tuple[int, int],
    files: dict[str, str],
    *,
    restored_at: datetime | None = None,
) -> None:
    """Say what the files of ``day`` hold now, in the caller's transaction: ``counts`` are
    generations and feedback."""
    await conn.execute(
        _PUT,
        {
            "day": day,
            "generations": counts[0],
            "feedback": counts[1],
            "files": json.dumps(files),
            "restored_at": restored_at,
        },
    )


async def set_restored(conn: Connection, day: date, *, borrowed: bool) -> None:
    """The rows of ``day`` are in Postgres, from the caller's transaction on or since before."""
    await conn.execute(
        "update archives set restored_at = coalesce(restored_at, now()), borrowed = %s"
        " where day = %s",
        (borrowed, day),
    )
