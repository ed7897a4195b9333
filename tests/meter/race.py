"""One of several processes that spend the same budget: ``python -m tests.meter.race DSN ...``.

Prints how much its requests cost, and how many were refused.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import sys

from liveweights.meter.budgets import Budget
from liveweights.meter.keys import Client
from liveweights.meter.lease_rows import LeaseRows, keep_giving_back
from liveweights.meter.limits import Limiter, LimitReached
from liveweights.meter.rights import Rights
from liveweights.meter.settings import RateLimits
from liveweights.store.database import open_pool

MOST = 20_000
RESERVED = 100
CONCURRENCY = 8
CLIENTS = 64
KEY = Client(
    "acme",
    "abcdefgh",
    rights=Rights(
        budgets=(Budget(period="all", nanos=MOST),), limits=RateLimits(concurrency=CONCURRENCY)
    ),
)


async def run(dsn: str, name: str) -> None:
    pool = await open_pool(dsn, max_size=4)
    limiter = Limiter(RateLimits(), {}, store=LeaseRows(pool, name))
    tasks = [
        asyncio.create_task(limiter.keep_reporting()),
        asyncio.create_task(keep_giving_back(dsn, limiter)),
    ]
    spent = refused = running = peak = 0
    spent_out = False
    draw = random.Random(name)

    async def client() -> None:
        nonlocal spent, refused, running, peak, spent_out
        while not spent_out:
            try:
                permit = await limiter.begin(KEY)
            except LimitReached:
                await asyncio.sleep(0.01)
                continue
            running += 1
            peak = max(peak, running)
            try:
                await permit.reserve(0, RESERVED)
                await asyncio.sleep(draw.random() * 0.01)
                permit.cost = draw.randint(RESERVED // 2, RESERVED)
                spent += permit.cost
            except LimitReached:
                refused += 1
                spent_out = True
            finally:
                running -= 1
                permit.close()

    await asyncio.gather(*(client() for _ in range(CLIENTS)))
    await limiter.give_back()
    for task in tasks:
        task.cancel()
    await pool.close()
    print(json.dumps({"spent": spent, "refused": refused, "peak": peak}))


if __name__ == "__main__":
    logging.basicConfig()
    asyncio.run(run(sys.argv[1], sys.argv[2]))
