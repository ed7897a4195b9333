from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pytest

from liveweights.release import aliases
from liveweights.release.alias import (
    CHANNEL,
    AliasError,
    AnotherBase,
    StaleVersion,
    UnknownAlias,
)
from liveweights.release.history import read_history, taken_back
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


def test_a_release_from_canary_to_rollback(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        state = await aliases.start_canary(conn, "m", B, 0.25, reason="gate passed")
        assert (state.live, state.canary, state.share, state.version) == (A, B, 0.25, 2)
        state = await aliases.promote(conn, "m", B, cycle=7, reason="r", evidence={"e": 20.5})
        assert (state.live, state.canary, state.share, state.version) == (B, None, 0.0, 3)
        state = await aliases.rollback(conn, "m", reason="users complain")
        assert (state.live, state.canary, state.version) == (A, None, 4)
        assert await aliases.read(conn, "m") == state
        assert await actions(conn) == [
            ("create", A, None),
            ("canary", B, A),
            ("promote", B, A),
            ("rollback", A, B),
        ]
        row = await conn.execute(
            "select cycle, evidence, reason from releases order by id offset 2"
        )
        assert await row.fetchone() == (7, {"e": 20.5}, "r")

    with_alias(database_dsn, test)


def test_repeats_change_nothing(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        assert (await aliases.create(conn, "m", B)).live == A
        for _ in range(2):
            started = await aliases.start_canary(conn, "m", B, 0.1, reason="r")
        assert started.version == 2
        for _ in range(2):
            promoted = await aliases.promote(conn, "m", B, reason="r")
        assert promoted.version == 3
        assert (await aliases.abort_canary(conn, "m", reason="r")).version == 3
        assert (await aliases.rollback(conn, "m", B, reason="r")).version == 3
        assert len(await actions(conn)) == 3

    with_alias(database_dsn, test)


def test_aborting_one_canary_spares_its_successor(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        await aliases.start_canary(conn, "m", B, 0.1, reason="r")
        assert (await aliases.abort_canary(conn, "m", reason="r", checkpoint=B)).canary is None
        await aliases.start_canary(conn, "m", C, 0.1, reason="r")
        assert (await aliases.abort_canary(conn, "m", reason="r", checkpoint=B)).canary == C

    with_alias(database_dsn, test)


def test_rollback_and_promotion_end_a_running_canary_and_say_so(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        await aliases.promote(conn, "m", B, reason="r")
        await aliases.start_canary(conn, "m", C, 0.1, reason="r")
        state = await aliases.rollback(conn, "m", reason="r")
        assert (state.live, state.canary) == (A, None)
        assert (await actions(conn))[-2:] == [("abort", C, B), ("rollback", A, B)]
        await aliases.start_canary(conn, "m", C, 0.1, reason="r")
        assert (await aliases.rollback(conn, "m", A, reason="r")).canary is None
        await aliases.start_canary(conn, "m", C, 0.1, reason="r")
        assert (await aliases.promote(conn, "m", B, reason="r")).canary is None

    with_alias(database_dsn, test)


def test_what_does_not_fit_is_refused_and_changes_nothing(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        with pytest.raises(AliasError, match="no checkpoint before"):
            await aliases.rollback(conn, "m", reason="r")
        with pytest.raises(AliasError, match="is live"):
            await aliases.start_canary(conn, "m", A, 0.1, reason="r")
        with pytest.raises(NotRegistered, match="nobody@1"):
            await aliases.promote(conn, "m", "nobody@1", reason="r")
        with pytest.raises(NotRegistered, match="nobody@1"):
            await aliases.create(conn, "n", "nobody@1")
        with pytest.raises(UnknownAlias, match="'n'"):
            await aliases.read(conn, "n")
        with pytest.raises(StaleVersion, match="version 1, not 9"):
            await aliases.promote(conn, "m", B, reason="r", version=9)
        await aliases.start_canary(conn, "m", B, 0.1, reason="r")
        with pytest.raises(AliasError, match="has the canary"):
            await aliases.start_canary(conn, "m", C, 0.1, reason="r")
        assert await actions(conn) == [("create", A, None), ("canary", B, A)]

    with_alias(database_dsn, test)


def test_changes_at_the_same_time_leave_one_canary(database_dsn: str) -> None:
    async def start(checkpoint: str) -> str:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            try:
                await aliases.start_canary(conn, "m", checkpoint, 0.1, reason="r")
            except AliasError:
                return "refused"
            return "started"

    async def test(conn: Connection) -> None:
        outcomes = await asyncio.gather(*(start(c) for c in (B, C, B, C, B, C)))
        canary = (await aliases.read(conn, "m")).canary
        assert canary in (B, C)
        assert outcomes == ["started" if c == canary else "refused" for c in (B, C, B, C, B, C)]
        assert len(await actions(conn)) == 2

    with_alias(database_dsn, test)


def test_everyone_is_told_once_it_is_committed(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as ear:
            await ear.execute(f"listen {CHANNEL}")
            async with conn.transaction():
                await aliases.start_canary(conn, "m", B, 0.1, reason="r")
                assert [n async for n in ear.notifies(timeout=0.1)] == []
            heard = [n.payload async for n in ear.notifies(timeout=5, stop_after=1)]
            assert heard == ["m"]

    with_alias(database_dsn, test)


def test_a_rollback_makes_the_feedback_of_what_it_takes_back_unread_again(
    database_dsn: str,
) -> None:
    async def withdrawn(conn: Connection) -> list[str]:
        cursor = await conn.execute(
            "select candidate from cycles where withdrawn_at is not null order by candidate"
        )
        return [candidate for (candidate,) in await cursor.fetchall()]

    async def test(conn: Connection) -> None:
        await conn.execute("update checkpoints set parent = %s where id = %s", (A, B))
        await conn.execute("update checkpoints set parent = %s where id = %s", (B, C))
        for candidate in (B, C):
            await conn.execute(
                "insert into cycles (alias, state, incumbent, candidate, outcome, settings,"
                " ended_at) values ('m', 'ended', %s, %s, 'promoted', '{}', now())",
                (A, candidate),
            )
            await aliases.promote(conn, "m", candidate, reason="r")
        assert await withdrawn(conn) == []
        await aliases.rollback(conn, "m", reason="C is bad")
        assert await withdrawn(conn) == [C]
        await aliases.rollback(conn, "m", reason="B too")
        assert await withdrawn(conn) == [B, C]
        await aliases.promote(conn, "m", C, reason="it was the network")
        assert await withdrawn(conn) == []

    with_alias(database_dsn, test)


def test_weights_that_were_taken_back_are_known_until_somebody_promotes_them(
    database_dsn: str,
) -> None:
    async def test(conn: Connection) -> None:
        assert await taken_back(conn, "m", B) is None
        await aliases.promote(conn, "m", B, reason="r")
        await aliases.rollback(conn, "m", reason="users complain")
        assert await taken_back(conn, "m", B) == "users complain"
        await aliases.promote(conn, "m", B, reason="r")
        assert await taken_back(conn, "m", B) is None
        for evidence, why in [
            ({"proven": False, "guards": [{"broken": False}]}, None),
            ({"proven": True}, "harm"),
            ({"proven": False, "guards": [{"broken": False}, {"broken": True}]}, "harm"),
        ]:
            await aliases.start_canary(conn, "m", C, 0.1, reason="r")
            await aliases.abort_canary(conn, "m", reason="harm", evidence=evidence)
            assert await taken_back(conn, "m", C) == why

    with_alias(database_dsn, test)


def test_a_canary_on_another_base_takes_the_alias_there(database_dsn: str) -> None:
    other = "other@111111111111"

    async def test(conn: Connection) -> None:
        await register(conn, Checkpoint(other, "base", Path("/")), {})
        with pytest.raises(AnotherBase, match="liveweights switch m BASE"):
            await aliases.start_canary(conn, "m", other, 0.5, reason="r")
        with pytest.raises(AnotherBase):
            await aliases.promote(conn, "m", other, reason="r")
        await aliases.start_canary(conn, "m", other, 0.5, reason="r", across=True)
        await aliases.start_canary(conn, "m", other, 1.0, reason="a step")
        assert (await aliases.promote(conn, "m", other, reason="good")).live == other
        assert (await actions(conn))[-1] == ("switch", other, A)
        with pytest.raises(AliasError, match="has had no checkpoint before"):
            await aliases.rollback(conn, "m", reason="r")
        assert (await aliases.switch(conn, "m", A, reason="back")).live == A

    with_alias(database_dsn, test)
