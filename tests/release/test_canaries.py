"""Canaries of an alias: one at a time, whoever begins them."""

from __future__ import annotations

import asyncio

import psycopg
from tests.release.test_aliases import B, C, actions, with_alias

from liveweights.release import aliases, canaries
from liveweights.release.alias import AliasError
from liveweights.store.database import Connection


def test_aborting_one_canary_spares_its_successor(database_dsn: str) -> None:
    async def test(conn: Connection) -> None:
        await canaries.start_canary(conn, "m", B, 0.1, reason="r")
        assert (await canaries.abort_canary(conn, "m", reason="r", checkpoint=B)).canary is None
        await canaries.start_canary(conn, "m", C, 0.1, reason="r")
        assert (await canaries.abort_canary(conn, "m", reason="r", checkpoint=B)).canary == C

    with_alias(database_dsn, test)


def test_changes_at_the_same_time_leave_one_canary(database_dsn: str) -> None:
    async def start(checkpoint: str) -> str:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            try:
                await canaries.start_canary(conn, "m", checkpoint, 0.1, reason="r")
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
