from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pytest

from liveweights.release import aliases, canaries, moves
from liveweights.release.alias import (
    CHANNEL,
    AliasError,
    StaleVersion,
    UnknownAlias,
)
from liveweights.release.history import read_history
from liveweights.store.database import Connection
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import NotRegistered, register

A, B, C = (f"{name}@000000000000" for name in "abc")


def with_alias(dsn: str, test: Callable[[Connection], Awaitable[None]]) -> None:
    """Runs ``test`` with three registered checkpoints and the alias ``m`` on the first."""

    async def go() -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            await register(conn, Checkpoint(A, "base", Path("/")), {})
            for checkpoint in (B, C):
                await register(conn, Checkpoint(checkpoint, "adapter", Path("/"), A, A), {})
            await aliases.create(conn, "m", A)
            await test(conn)

    asyncio.run(go())


async def actions(conn: Connection) -> list[tuple[str, str, str | None]]:
    return [(r.action, r.checkpoint, r.previous) for r in await read_history(conn, "m")]


def test_repeats_change_nothing(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        assert (await aliases.create(conn, "m", B)).live == A
        for _ in range(2):
            started = await canaries.start_canary(conn, "m", B, 0.1, reason="r")
        assert started.version == 2
        for _ in range(2):
            promoted = await moves.promote(conn, "m", B, reason="r")
        assert promoted.version == 3
        assert (await canaries.abort_canary(conn, "m", reason="r")).version == 3
        assert (await moves.rollback(conn, "m", B, reason="r")).version == 3
        assert len(await actions(conn)) == 3

    with_alias(database_dsn, test)


def test_what_does_not_fit_is_refused_and_changes_nothing(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        with pytest.raises(AliasError, match="no checkpoint before"):
            await moves.rollback(conn, "m", reason="r")
        with pytest.raises(AliasError, match="is live"):
            await canaries.start_canary(conn, "m", A, 0.1, reason="r")
        with pytest.raises(NotRegistered, match="nobody@1"):
            await moves.promote(conn, "m", "nobody@1", reason="r")
        with pytest.raises(NotRegistered, match="nobody@1"):
            await aliases.create(conn, "n", "nobody@1")
        with pytest.raises(UnknownAlias, match="'n'"):
            await aliases.read(conn, "n")
        with pytest.raises(StaleVersion, match="version 1, not 9"):
            await moves.promote(conn, "m", B, reason="r", version=9)
        await canaries.start_canary(conn, "m", B, 0.1, reason="r")
        with pytest.raises(AliasError, match="has the canary"):
            await canaries.start_canary(conn, "m", C, 0.1, reason="r")
        assert await actions(conn) == [("create", A, None), ("canary", B, A)]

    with_alias(database_dsn, test)


def test_everyone_is_told_once_it_is_committed(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as ear:
            await ear.execute(f"listen {CHANNEL}")
            async with conn.transaction():
                await canaries.start_canary(conn, "m", B, 0.1, reason="r")
                assert [n async for n in ear.notifies(timeout=0.1)] == []
            heard = [n.payload async for n in ear.notifies(timeout=5, stop_after=1)]
            assert heard == ["m"]

    with_alias(database_dsn, test)
