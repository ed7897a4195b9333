"""What is kept about each database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from psycopg.rows import class_row

from liveweights.store.database import Connection

OPERATOR = "operator"
"""Owner of what is made at the command line; its frozen databases may be forked by every owner."""


class State(StrEnum):
    CREATING = "creating"
    READY = "ready"
    PAUSED = "paused"
    FROZEN = "frozen"
    DELETING = "deleting"


class Level(StrEnum):
    """What its size leaves of a database's rights."""

    OPEN = "open"
    REDUCED = "reduced"
    """Over the limit: what is there may be read, deleted, truncated and vacuumed."""
    CLOSED = "closed"
    """Far over the limit, or using up what all share: nobody may connect."""


@dataclass(frozen=True, slots=True)
class Database:
    """``id`` is its name in Postgres; sizes are in bytes, ``idle`` in seconds."""

    id: str
    owner: str
    name: str
    source: str | None
    state: State
    level: Level
    size: int
    size_limit: int
    idle: float
    created_at: datetime
    expires_at: datetime | None
    used_at: datetime
    reason: str = ""
    """Why it is closed, if it is."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", State(self.state))
        object.__setattr__(self, "level", Level(self.level))

    @property
    def admits(self) -> bool:
        """Whether Postgres lets its roles connect."""
        return self.state is State.READY and self.level is not Level.CLOSED


COLUMNS = ", ".join(Database.__dataclass_fields__)


async def read(conn: Connection, where: str = "true", *values: object) -> list[Database]:
    """The rows that fulfil a condition, oldest first."""
    async with conn.cursor(row_factory=class_row(Database)) as cursor:
        query = f"select {COLUMNS} from databases where {where} order by created_at, id"
        await cursor.execute(query.encode(), values)
        return await cursor.fetchall()


async def find(conn: Connection, owner: str, name: str) -> Database | None:
    rows = await read(conn, "owner = %s and name = %s and state <> 'deleting'", owner, name)
    return rows[0] if rows else None
