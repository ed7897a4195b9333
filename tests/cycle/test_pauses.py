from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest

from liveweights.config import Config
from liveweights.cycle import ledger
from liveweights.cycle.next_turn import begin_now
from liveweights.cycle.pauses import Pause, goes_on, pause, read_pause, require_no_pause, resume
from liveweights.cycle.states import State
from liveweights.cycle.status import read_status
from liveweights.release.alias import AliasError, UnknownAlias
from liveweights.store.database import open_pool

from .product import BASE, Habit, Product


def on_product(dsn: str, home: Path, test: Callable[[Product], Awaitable[None]]) -> None:
    async def go() -> None:
        pool = await open_pool(dsn)
        try:
            product = Product(pool, Config(), home, {BASE: Habit()})
            await product.fill()
            await test(product)
        finally:
            await pool.close()

    asyncio.run(go())


def test_no_worker_begins_or_goes_on_until_learning_is_resumed(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(product: Product) -> None:
        await product.use(20)
        worker = product.config.for_worker("code")
        async with product.pool.connection() as conn:
            await pause(conn, "code", " <b>a launch</b> ", actor="ada")
        assert await product.worker().turn(now=True) is None
        async with product.pool.connection() as conn:
            with pytest.raises(AliasError, match="paused by ada: <b>a launch</b>"):
                await begin_now(conn, worker)
            held = (await read_status(conn, worker, tmp_path))["paused"]
            assert (held.actor, held.reason) == ("ada", "<b>a launch</b>")
            begun = await ledger.begin(conn, "code", {})  # as one that was open before
        for _ in range(2):
            still = await product.worker().turn(now=True)
            assert still == begun
        async with product.pool.connection() as conn:
            await resume(conn, "code")
        further = await product.worker().turn()
        assert further is not None
        assert (further.id, further.state) == (begun.id, "learning")

    on_product(database_dsn, tmp_path, test)


def test_a_pause_is_one_and_has_a_reason(database_dsn: str, tmp_path: Path) -> None:
    async def test(product: Product) -> None:
        async with product.pool.connection() as conn:
            await require_no_pause(conn, "code")
            for reason in ("", "  ", "x" * 501):
                with pytest.raises(AliasError, match="needs a reason"):
                    await pause(conn, "code", reason, actor="ada")
            with pytest.raises(UnknownAlias):
                await pause(conn, "nobody", "r", actor="ada")
            with pytest.raises(AliasError, match="is not paused"):
                await resume(conn, "code")
            made = await pause(conn, "code", "r", actor="ada")
            assert await read_pause(conn, "code") == made
            with pytest.raises(AliasError, match="already, by ada: r"):
                await pause(conn, "code", "other", actor="eve")
            assert await read_pause(conn, "code") == made
            assert await ledger.current(conn, "code") is None

    on_product(database_dsn, tmp_path, test)


@pytest.mark.parametrize("state", get_args(State))
def test_only_a_canary_goes_on(state: State) -> None:
    held = Pause(since=datetime.now(UTC), actor="ada", reason="r")
    assert goes_on(None, state)
    assert goes_on(held, state) == (state == "canary")
