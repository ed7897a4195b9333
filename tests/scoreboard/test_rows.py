from __future__ import annotations

import asyncio

import msgspec
import psycopg
import pytest
from tests.scoreboard.examples import results, run

from liveweights.scoreboard.results import Run, ScoreboardError
from liveweights.scoreboard.rows import (
    add_results,
    keep_results,
    open_run,
    read_live,
    read_run,
    read_scored,
    read_standing,
    remove_run,
)


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


def test_what_another_program_asks_is_another_run(database_dsn: str) -> None:
    async def scene() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            for runner, scores in (("liveweights 1", [0.0] * 4), ("liveweights 2", [1.0] * 4)):
                number = await open_run(conn, run(runner=runner))
                assert await read_run(conn, number) == {}
                await keep_results(conn, number, results(scores))
            # Of one model scores are of the last program; of several, of the one that asked most.
            assert [one.score for one in await read_standing(conn, ["code"])] == [1.0]
            other = await open_run(conn, run("big", None, runner="liveweights 1"))
            await keep_results(conn, other, results([1.0] * 4))
            scores = {one.model: one.score for one in await read_standing(conn, ["code", "big"])}
            assert scores == {"big": 1.0, "code": 0.0}

    asyncio.run(scene())


def test_a_run_goes_on_only_where_it_began(database_dsn: str) -> None:
    async def scene() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            here, there = (
                msgspec.structs.replace(run(), hardware=one) for one in ("a laptop", "an H200")
            )
            number = await open_run(conn, here)
            assert await open_run(conn, there) == number  # of which nothing was asked yet
            listed = results([1.0] * 4)
            await keep_results(conn, number, listed[:2])
            assert await open_run(conn, there) == number
            with pytest.raises(ScoreboardError, match=r"begun on an H200.* now is a laptop"):
                await open_run(conn, here)
            await keep_results(conn, number, listed)
            assert await open_run(conn, here) == number  # of which nothing is left
            (one,) = await read_scored(conn)
            assert one.run.hardware == "an H200"

    asyncio.run(scene())


def test_a_run_goes_on_only_in_the_currency_in_which_it_began(database_dsn: str) -> None:
    async def scene() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            number = await open_run(conn, run(), "EUR")
            assert await open_run(conn, run(), "USD") == number  # of which nothing was asked yet
            listed = results([1.0] * 4, nanos=7)
            await keep_results(conn, number, listed[:2])
            with pytest.raises(ScoreboardError, match=f"run {number} .* prices in USD.* EUR now"):
                await open_run(conn, run(), "EUR")
            assert await open_run(conn, run(), "USD") == number
            assert await open_run(conn, run(), None) == number  # what it costs is not known then
            await keep_results(conn, number, listed)
            assert await open_run(conn, run(), "EUR") == number  # of which nothing is left
            (one,) = await read_scored(conn)
            assert one.currency == "USD"

    asyncio.run(scene())


def test_a_run_of_refusals_is_no_score(database_dsn: str) -> None:
    async def scene() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            refused = results([0.0] * 4, detail="refused: no tools")
            await keep_results(conn, await open_run(conn, run("tools", "t@1")), refused)
            some = [refused[0], *results([0.0] * 4)[1:]]
            await keep_results(conn, await open_run(conn, run("code", "code@1")), some)
            assert await read_standing(conn, ["tools", "code"]) == [
                ("code", "code@1", "letters", 0.0)
            ]

    asyncio.run(scene())


def test_what_is_live_is_of_everybodys_aliases(database_dsn: str) -> None:
    async def scene() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            for id_ in ("code@1", "code@2"):
                await conn.execute(
                    "insert into checkpoints (id, kind, folder, card)"
                    " values (%s, 'base', '/', '{}')",
                    (id_,),
                )
            await conn.execute("insert into aliases (name, live) values ('code', 'code@1')")
            await conn.execute(
                "insert into aliases (name, live, model, tenant)"
                " values ('code:acme', 'code@2', 'code', 'acme')"
            )
            assert await read_live(conn) == {"code": "code@1"}

    asyncio.run(scene())


def test_other_scores_of_others_are_refused(database_dsn: str) -> None:
    async def scene() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            listed = results([1.0, 0.0, 0.5])
            number = await open_run(conn, run("them", None, source="a lab"))
            assert await add_results(conn, number, listed[:2]) == 2
            assert await add_results(conn, number, listed) == 1
            changed = [msgspec.structs.replace(one, score=0.25) for one in listed]
            with pytest.raises(ScoreboardError, match=f"run {number}, and 0.25 here, and 2 more"):
                await add_results(conn, number, changed)
            assert list((await read_run(conn, number)).values()) == listed

    asyncio.run(scene())


def test_a_suites_scores_are_of_conditions_that_most_models_share(database_dsn: str) -> None:
    async def scene() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:

            async def score(one: Run, scores: list[float]) -> None:
                await keep_results(conn, await open_run(conn, one), results(scores))

            await score(run("code", "code@1"), [0.0, 0.0, 0.0, 0.0])
            await score(run("big", None), [1.0, 1.0, 1.0, 0.0])
            await score(run("code", "code@2"), [1.0, 0.0, 1.0, 0.0])
            await score(run("code", "code@2", repeat=1), [1.0, 1.0, 1.0, 1.0])
            await score(run("code", "code@3"), [1.0])  # not whole
            await score(run("code", "code@3", seed=1), [1.0, 1.0, 1.0, 1.0])  # alone
            await score(run("code", None, source="a lab", suite="swe"), [1.0, 1.0, 1.0, 1.0])
            await score(run("code", "code@2", suite="other"), [0.0, 0.0, 0.0, 1.0])
            assert await read_standing(conn, ["code", "big", "none"]) == [
                ("big", None, "letters", 0.75),
                ("code", "code@2", "letters", 0.5),
                ("code", "code@2", "other", 0.25),
            ]
            assert await read_standing(conn, []) == []

            # Live again, or never scored: what does not answer is no score of the model.
            assert await read_standing(conn, ["code"], [("code", "code@1")]) == [
                ("code", "code@1", "letters", 0.0)
            ]
            assert await read_standing(conn, ["code"], [("code", "code@4")]) == []
            both = [("code", "code@4"), ("code", "code@1"), ("none", "none@1")]
            assert await read_standing(conn, ["code", "big"], both) == [
                ("big", None, "letters", 0.75),
                ("code", "code@1", "letters", 0.0),
            ]

    asyncio.run(scene())
