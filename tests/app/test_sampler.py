from __future__ import annotations

import asyncio
from typing import Any

import psycopg

from liveweights.app.sampler import keep_sampling
from liveweights.http.slots import Slots
from liveweights.store.database import open_pool
from liveweights.store.partitions import ensure_ahead


class Resident:
    def in_use(self) -> dict[str, int]:
        return {"m@1": 2, "m@2": 0}


def test_what_is_running_and_waiting_is_kept(database_dsn: str) -> None:
    async def go() -> list[tuple[Any, ...]]:
        pool = await open_pool(database_dsn)
        one: Any = Resident()
        slots = Slots(2, 5)
        async with slots.hold(2):
            third = asyncio.ensure_future(slots.hold(1).__aenter__())
            await asyncio.sleep(0)
            sampling = asyncio.create_task(keep_sampling(pool, "h:1", slots, one, every=0.01))
            # Without a partition for today the samples are left out, and sampling goes on.
            await asyncio.sleep(0.1)
            async with pool.connection() as conn:
                await ensure_ahead(conn)
            for _ in range(3000):
                await asyncio.sleep(0.02)
                async with pool.connection() as conn:
                    cursor = await conn.execute(
                        "select instance, slots, running, waiting, resident, in_use"
                        " from engine_metrics limit 1"
                    )
                    if rows := await cursor.fetchall():
                        break
            sampling.cancel()
            third.cancel()
        await pool.close()
        return rows

    assert asyncio.run(go()) == [("h:1", 2, 2, 1, ["m@1", "m@2"], [2, 0])]
    with psycopg.connect(database_dsn) as conn:
        assert {row[0] for row in conn.execute("select checkpoint from load")} == {"m@1", "m@2"}
