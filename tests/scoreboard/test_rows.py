from __future__ import annotations

import asyncio

import msgspec
import psycopg
from tests.scoreboard.examples import results, run

from liveweights.scoreboard.rows import keep_results, open_run, read_run, read_scored, remove_run


def test_a_run_is_gone_on_with_and_read_as_it_was_kept(database_dsn: str) -> None:
    async def scene() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            first = await open_run(conn, run(), "EUR")
            assert await open_run(conn, run(), "EUR") == first
            again = await open_run(conn, run(repeat=1), "EUR")
            foreign = await open_run(conn, run("them", None, suite="swe", source="a lab"))
            assert len({first, again, foreign}) == 3
            listed = results([1.0, 0.0, 0.5, 1.0], nanos=7, seconds=0.5, detail="x", group="g")
            await keep_results(conn, first, listed[:2])
            changed = [msgspec.structs.replace(listed[0], score=0.0), *listed[1:]]
            await keep_results(conn, first, changed)
            assert list((await read_run(conn, first)).values()) == listed
            scored = await read_scored(conn, ["letters"])
            assert [one.id for one in scored] == [first, again]
            assert scored[0].run == run()
            assert (scored[0].is_whole, scored[1].is_whole) == (True, False)
            assert scored[0].results["c1", 0] == listed[1]
            assert [one.run.model for one in await read_scored(conn)] == ["code", "code", "them"]
            assert await remove_run(conn, first)
            assert not await remove_run(conn, first)

    asyncio.run(scene())
