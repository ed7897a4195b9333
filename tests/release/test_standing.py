"""An alias stands on one base, and goes over to another only when somebody says so."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from liveweights.release import aliases, ancestry, canaries, deployments, moves
from liveweights.release.alias import AliasError, AnotherBase
from liveweights.release.deployments import read_desired, ready, stand_ins
from liveweights.release.history import read_history, rollback_targets
from liveweights.release.standing import stand
from liveweights.store.database import Connection
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register

ONE, TWO = (Checkpoint(f"{n}@000000000000", "base", Path("/")) for n in ("one", "two"))
LEARNT = Checkpoint("one@111111111111", "adapter", Path("/"), ONE.id, ONE.id)
DEEPER = Checkpoint("one@222222222222", "full", Path("/"), LEARNT.id, LEARNT.id)


def on(dsn: str, test: Callable[[Connection], Awaitable[None]]) -> None:
    async def go() -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            await test(conn)

    asyncio.run(go())


async def start(conn: Connection, base: Checkpoint, name: str = "code", **more: Any) -> str:
    return await stand(conn, name, base, {}, model=f"models/{base.name}", **more)


async def serve(conn: Connection, checkpoint: str, instance: str = "host:1") -> None:
    await deployments.report(conn, instance, checkpoint, "ready")


async def known(conn: Connection) -> set[str]:
    return {id for (id,) in await (await conn.execute("select id from checkpoints")).fetchall()}


def test_another_base_is_refused_with_two_ways_on_and_nothing_is_registered(
    database_dsn: str,
) -> None:
    async def test(conn: Connection) -> None:
        assert await start(conn, ONE) == ONE.id
        await serve(conn, ONE.id)
        with pytest.raises(AnotherBase) as refused:
            await start(conn, TWO)
        said = str(refused.value)
        assert f"'code' stands on {ONE.id}, not on {TWO.id}" in said
        assert "serve models/two under another name (--alias NAME)" in said
        assert "--switch-alias" in said
        assert await known(conn) == {ONE.id}
        assert await start(conn, ONE) == ONE.id
        assert await start(conn, TWO, "other") == TWO.id  # the first way on

    on(database_dsn, test)


def test_a_first_start_that_never_answered_leaves_nothing_behind(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        await start(conn, ONE)
        await deployments.report(conn, "host:1", ONE.id, "failed", error="no such architecture")
        assert await start(conn, TWO) == TWO.id
        assert await known(conn) == {TWO.id}
        assert [r.checkpoint for r in await read_history(conn, "code")] == [TWO.id]

    on(database_dsn, test)


def test_a_base_that_another_alias_has_stays(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        await start(conn, ONE, "other")
        await start(conn, ONE)
        assert await start(conn, TWO) == TWO.id
        assert await known(conn) == {ONE.id, TWO.id}
        assert (await aliases.read(conn, "other")).live == ONE.id

    on(database_dsn, test)


def test_a_switch_there_and_back_keeps_what_was_learnt(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        await start(conn, ONE)
        await serve(conn, ONE.id)
        for checkpoint in (LEARNT, DEEPER):
            await register(conn, checkpoint, {})
            await moves.promote(conn, "code", checkpoint.id, reason="good")
        assert await ancestry.root_of(conn, DEEPER.id) == ONE.id
        await deployments.withdraw(conn, "host:1")

        told: list[str] = []

        async def also(conn: Connection) -> None:
            told.append((await aliases.read(conn, "code")).live)

        assert await start(conn, TWO, switch=True, also=also) == TWO.id
        assert await start(conn, TWO, switch=True, also=also) == TWO.id  # again changes nothing
        assert told == [DEEPER.id]
        history = await read_history(conn, "code")
        assert [(r.action, r.checkpoint) for r in history][-2:] == [
            ("promote", DEEPER.id),
            ("switch", TWO.id),
        ]
        # What stands on another base is nothing to return to, or to answer in the meantime.
        assert await rollback_targets(conn, "code") == []
        assert stand_ins(history) == [TWO.id]
        for move in (
            moves.rollback(conn, "code", LEARNT.id, reason="test"),
            moves.promote(conn, "code", LEARNT.id, reason="test"),
            canaries.start_canary(conn, "code", LEARNT.id, 0.1, reason="test"),
        ):
            with pytest.raises(AnotherBase, match=f"builds on {ONE.id}"):
                await move
        assert await start(conn, ONE, switch=True) == DEEPER.id

    on(database_dsn, test)


def test_what_is_served_elsewhere_is_not_switched_away(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        await start(conn, ONE)
        await serve(conn, ONE.id, "elsewhere:8090")
        with pytest.raises(AliasError, match="while elsewhere:8090 serves it: stop that first"):
            await start(conn, TWO, switch=True)
        assert await known(conn) == {ONE.id}

    on(database_dsn, test)


def test_an_instance_wants_and_waits_for_what_stands_on_its_base(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        await start(conn, ONE, "a")
        await start(conn, TWO, "b")
        await register(conn, LEARNT, {})
        await deployments.keep_warm(conn, LEARNT.id, 60)
        one, two = [await read_desired(conn, base.id) for base in (ONE, TWO)]
        assert ([a.name for a in one.aliases], one.warm) == (["a"], (LEARNT.id,))
        assert ([a.name for a in two.aliases], two.warm) == (["b"], ())
        assert {a.name for a in (await read_desired(conn)).aliases} == {"a", "b"}

        await serve(conn, ONE.id, "first:1")
        await serve(conn, TWO.id, "second:1")
        await serve(conn, LEARNT.id, "first:1")
        assert (await ready(conn, LEARNT.id)).everywhere  # the second can never hold it

    on(database_dsn, test)
