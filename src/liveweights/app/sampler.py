"""Samples of how busy this instance is, every few seconds."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime

import psycopg
from psycopg_pool import PoolTimeout

from liveweights.http.slots import Slots
from liveweights.record.engine_metrics import Sample, keep_sample
from liveweights.serve.models import Models
from liveweights.store.database import Pool

log = logging.getLogger(__name__)

EVERY = 10.0


def take_sample(instance: str, slots: Slots, models: Models) -> Sample:
    return Sample(
        at=datetime.now(UTC),
        instance=instance,
        slots=slots.size,
        running=slots.running,
        waiting=slots.waiting,
        in_use=models.in_use(),
    )


async def keep_sampling(
    pool: Pool,
    instance: str,
    slots: Slots,
    models: Models,
    *,
    every: float = EVERY,
) -> None:
    """For ever. A sample that cannot be stored now is left out."""
    while True:
        try:
            async with pool.connection() as conn:
                await keep_sample(conn, take_sample(instance, slots, models))
        except (psycopg.Error, PoolTimeout) as error:
            log.warning("a sample of the load was left out: %s", error)
        await asyncio.sleep(every)
