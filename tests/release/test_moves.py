"""Moves of an alias to another checkpoint, and back."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.release.test_aliases import A, B, C, actions, with_alias

from liveweights.release import aliases, canaries, moves
from liveweights.release.alias import AliasError, AnotherBase
from liveweights.release.history import taken_back
from liveweights.store.database import Connection
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register


def test_a_release_from_canary_to_rollback(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        state = await canaries.start_canary(conn, "m", B, 0.25, reason="gate passed")
        assert (state.live, state.canary, state.share, state.version) == (A, B, 0.25, 2)
        state = await moves.promote(conn, "m", B, cycle=7, reason="r", evidence={"e": 20.5})
        assert (state.live, state.canary, state.share, state.version) == (B, None, 0.0, 3)
        state = await moves.rollback(conn, "m", reason="users complain")
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


def test_rollback_and_promotion_end_a_running_canary_and_say_so(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        await moves.promote(conn, "m", B, reason="r")
        await canaries.start_canary(conn, "m", C, 0.1, reason="r")
        state = await moves.rollback(conn, "m", reason="r")
        assert (state.live, state.canary) == (A, None)
        assert (await actions(conn))[-2:] == [("abort", C, B), ("rollback", A, B)]
        await canaries.start_canary(conn, "m", C, 0.1, reason="r")
        assert (await moves.rollback(conn, "m", A, reason="r")).canary is None
        await canaries.start_canary(conn, "m", C, 0.1, reason="r")
        assert (await moves.promote(conn, "m", B, reason="r")).canary is None

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
            await moves.promote(conn, "m", candidate, reason="r")
        assert await withdrawn(conn) == []
        await moves.rollback(conn, "m", reason="C is bad")
        assert await withdrawn(conn) == [C]
        await moves.rollback(conn, "m", reason="B too")
        assert await withdrawn(conn) == [B, C]
        await moves.promote(conn, "m", C, reason="it was the network")
        assert await withdrawn(conn) == []

    with_alias(database_dsn, test)


def test_weights_that_were_taken_back_are_known_until_somebody_promotes_them(
    database_dsn: str,
) -> None:
    async def test(conn: Connection) -> None:
        assert await taken_back(conn, "m", B) is None
        await moves.promote(conn, "m", B, reason="r")
        await moves.rollback(conn, "m", reason="users complain")
        assert await taken_back(conn, "m", B) == "users complain"
        await moves.promote(conn, "m", B, reason="r")
        assert await taken_back(conn, "m", B) is None
        for evidence, why in [
            ({"proven": False, "guards": [{"broken": False}]}, None),
            ({"proven": True}, "harm"),
            ({"proven": False, "guards": [{"broken": False}, {"broken": True}]}, "harm"),
        ]:
            await canaries.start_canary(conn, "m", C, 0.1, reason="r")
            await canaries.abort_canary(conn, "m", reason="harm", evidence=evidence)
            assert await taken_back(conn, "m", C) == why

    with_alias(database_dsn, test)


def test_a_canary_on_another_base_takes_the_alias_there(database_dsn: str) -> None:
    other = "other@111111111111"

    async def test(conn: Connection) -> None:
        await register(conn, Checkpoint(other, "base", Path("/")), {})
        with pytest.raises(AnotherBase, match="liveweights switch m BASE"):
            await canaries.start_canary(conn, "m", other, 0.5, reason="r")
        with pytest.raises(AnotherBase):
            await moves.promote(conn, "m", other, reason="r")
        await canaries.start_canary(conn, "m", other, 0.5, reason="r", across=True)
        await canaries.start_canary(conn, "m", other, 1.0, reason="a step")
        assert (await moves.promote(conn, "m", other, reason="good")).live == other
        assert (await actions(conn))[-1] == ("switch", other, A)
        with pytest.raises(AliasError, match="has had no checkpoint before"):
            await moves.rollback(conn, "m", reason="r")
        assert (await moves.switch(conn, "m", A, reason="back")).live == A

    with_alias(database_dsn, test)
