"""Making a checkpoint live as a cycle does, without its gate and canary."""

from __future__ import annotations

import asyncio

from liveweights.release import deployments, moves
from liveweights.store.database import Pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register


async def make_live(pool: Pool, checkpoint: Checkpoint, reason: str, look: float) -> None:
    """Load it everywhere, looking every ``look`` seconds, and flip ``code`` to it. Raises
    SystemExit where it does not load."""
    async with pool.connection() as conn:
        await register(conn, checkpoint)
        await deployments.keep_warm(conn, checkpoint.id, 600)
    while True:
        async with pool.connection() as conn:
            ready = await deployments.ready(conn, checkpoint.id)
        if ready.failed:
            raise SystemExit(f"{checkpoint.id} does not load: {ready.failed}")
        if ready.everywhere:
            break
        await asyncio.sleep(look)
    async with pool.connection() as conn:
        await moves.promote(conn, "code", checkpoint.id, reason=reason)
        await deployments.let_go(conn, checkpoint.id)
