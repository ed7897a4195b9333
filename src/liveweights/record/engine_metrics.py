"""How busy an instance is, sampled into the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from liveweights.store.database import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """``running`` of ``slots`` answers are being computed and ``waiting`` requests queue;
    ``in_use`` is, by resident checkpoint, how many requests hold it."""

    at: datetime
    instance: str
    slots: int
    running: int
    waiting: int
    in_use: Mapping[str, int]


async def keep_sample(conn: Connection, sample: Sample) -> None:
    """Store it. Raises psycopg.errors.CheckViolation where its day has no partition."""
    await conn.execute(
        "insert into engine_metrics (at, instance, slots, running, waiting, resident, in_use)"
        " values (%s, %s, %s, %s, %s, %s, %s)",
        (
            sample.at,
            sample.instance,
            sample.slots,
            sample.running,
            sample.waiting,
            list(sample.in_use),
            list(sample.in_use.values()),
        ),
    )
