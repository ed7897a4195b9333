"""Models that are added to a running service, as rows."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from liveweights.release import aliases, deployments, models
from liveweights.release.models import NameTaken, NoSuchRow, Row, Standing
from liveweights.store.database import Connection, open_pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register


@pytest.fixture
def run(database_dsn: str) -> Callable[[Callable[[Connection], Awaitable[None]]], None]:
    def go(test: Callable[[Connection], Awaitable[None]]) -> None:
        async def inner() -> None:
            pool = await open_pool(database_dsn)
            try:
                async with pool.connection() as conn:
                    await test(conn)
            finally:
                await pool.close()

        asyncio.run(inner())

    return go


def test_a_row_is_added_changed_removed_and_added_again(run) -> None:
    async def test(conn: Connection) -> None:
        assert await models.add(conn, "big", {"upstream": "http://h"}) == 1
        with pytest.raises(NameTaken, match="`liveweights models set` changes it"):
            await models.add(conn, "big", {})
        assert await models.change(conn, "big", {"upstream": "http://other"}) == 2
        assert await models.read_rows(conn) == [Row("big", {"upstream": "http://other"}, 2)]
        assert await models.remove(conn, "big") == 3
        assert await models.read_rows(conn) == []
        for change in (models.remove(conn, "big"), models.change(conn, "big", {})):
            with pytest.raises(NoSuchRow, match="no model 'big' was added"):
                await change
        assert await models.add(conn, "big", {"learn": False}) == 4
        assert await models.read_rows(conn) == [Row("big", {"learn": False}, 4)]

    run(test)


def test_where_models_stand_is_told_by_each_instance(run) -> None:
    async def test(conn: Connection) -> None:
        here = [Standing("one", "a", "ready"), Standing("one", "b", "failed", 2, "no such folder")]
        await models.report(conn, "one", here)
        await models.report(conn, "two", [Standing("two", "a", "cold")])
        assert await models.read_standings(conn) == [here[0], Standing("two", "a", "cold"), here[1]]
        await models.report(conn, "one", here[:1])
        assert [(s.instance, s.model) for s in await models.read_standings(conn)] == [
            *(("one", "a"), ("two", "a")),
        ]
        await conn.execute("update model_states set updated_at = now() - interval '1 minute'")
        assert await models.read_standings(conn) == []

    run(test)


def test_only_its_own_deployer_serves_a_model_that_was_ever_added(run, tmp_path: Path) -> None:
    async def test(conn: Connection) -> None:
        base = Checkpoint("base@000000000000", "base", tmp_path)
        await register(conn, base, {})
        for name in ("code", "added", "gone"):
            await aliases.create(conn, name, base.id)
        await models.add(conn, "added", {})
        await models.add(conn, "gone", {})
        await models.remove(conn, "gone")

        async def served(model: str | None, *others: str) -> list[str]:
            desired = await deployments.read_desired(conn, base.id, others=others, model=model)
            return [alias.name for alias in desired.aliases]

        assert await served("code") == ["code"]
        assert await served("added", "code") == ["added"]
        assert await served(None) == ["code"]

    run(test)
