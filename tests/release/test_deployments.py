from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from liveweights.release import aliases, canaries, moves
from liveweights.release.deployments import Desired, keep_warm, let_go, order, read_desired
from liveweights.store.database import Connection
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register

A, B, C = (f"{name}@000000000000" for name in "abc")
Act = Callable[[Connection], Awaitable[None]]
READS = 4
"""More than `read_desired` has."""


class Interrupted(psycopg.AsyncConnection[Any]):
    """Somebody else's change comes between its statements: before the one numbered ``at``."""

    at = 0
    change: Callable[[], Awaitable[None]]

    async def execute(self, *args: Any, **kwargs: Any) -> Any:
        if self.at == 0:
            await self.change()
        self.at -= 1
        return await super().execute(*args, **kwargs)


def read_amid(dsn: str, at: int, prepare: Act, change: Act) -> Desired:
    """What is read when ``change`` comes before the reader's statement ``at``."""

    async def go() -> Desired:
        async with (
            await psycopg.AsyncConnection.connect(dsn, autocommit=True) as other,
            await Interrupted.connect(dsn, autocommit=True) as conn,
        ):
            await prepare(other)
            conn.at, conn.change = at, partial(change, other)
            return await read_desired(conn)

    return asyncio.run(go())


@pytest.mark.parametrize("at", range(READS))
def test_an_alias_and_its_history_are_of_one_moment(database_dsn: str, at: int) -> None:
    async def prepare(conn: Connection) -> None:
        await _release(conn, A, B, C)

    async def roll_back(conn: Connection) -> None:
        await moves.rollback(conn, "m", A, reason="C is bad")

    desired = read_amid(database_dsn, at, prepare, roll_back)
    (alias,) = desired.aliases
    assert (alias.live == C) == (C not in desired.withdrawn["m"])
    assert next(c for c in desired.stand_ins["m"] if c != alias.live) == B


@pytest.mark.parametrize("at", range(READS))
def test_what_goes_from_warm_to_live_is_wanted_at_every_moment(database_dsn: str, at: int) -> None:
    async def prepare(conn: Connection) -> None:
        await _release(conn, A)
        await register(conn, Checkpoint(B, "adapter", Path("/"), A, A), {})
        await keep_warm(conn, B, 60)

    async def promote(conn: Connection) -> None:
        await moves.promote(conn, "m", B, reason="good")
        await let_go(conn, B)

    assert B in order(read_amid(database_dsn, at, prepare, promote), 0, 4)


async def _release(conn: Connection, *checkpoints: str) -> None:
    """One after the other is live on the alias ``m``."""
    for checkpoint in checkpoints:
        if checkpoint == checkpoints[0]:
            await register(conn, Checkpoint(checkpoint, "base", Path("/")), {})
            await aliases.create(conn, "m", checkpoint)
        else:
            await register(conn, Checkpoint(checkpoint, "adapter", Path("/"), A, A), {})
            await moves.promote(conn, "m", checkpoint, reason="good")


def test_a_canary_on_another_base_is_that_bases_guest(database_dsn: str) -> None:
    async def go() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as conn:
            await _release(conn, A)
            other, learnt = (f"{name}@111111111111" for name in ("other", "learnt"))
            await register(conn, Checkpoint(other, "base", Path("/")), {})
            await register(conn, Checkpoint(learnt, "adapter", Path("/"), other, other), {})
            await canaries.start_canary(conn, "m", learnt, 0.5, reason="r", across=True)
            here, there = [await read_desired(conn, base) for base in (A, other)]
            assert [alias.canary for alias in here.aliases] == [learnt]
            assert order(here, 0, 4) == [A]
            assert here.elsewhere == {learnt}
            assert not there.aliases
            assert order(there, 0, 4) == [learnt]
            assert there.versions[learnt] == ("m:2",)
            await moves.promote(conn, "m", learnt, reason="good")
            here, there = [await read_desired(conn, base) for base in (A, other)]
            assert order(here, 4, 4) == []
            assert order(there, 4, 4) == [learnt]
            assert there.former == {"m": []}

    asyncio.run(go())
