from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import psycopg
import pytest
from tests.record.rows import make_feedback, make_generation

from liveweights.cycle import ledger
from liveweights.cycle.states import IllegalTransition, News
from liveweights.learn.baseline import Baseline
from liveweights.record.batch import prepare, store
from liveweights.record.binary import encode
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.release.alias import AliasError
from liveweights.release.aliases import read
from liveweights.release.canaries import start_canary
from liveweights.store.database import Connection


def on_database(dsn: str, work: Callable[[Connection], Awaitable[None]]) -> None:
    async def run() -> None:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            await conn.execute(
                "insert into checkpoints (id, kind, folder, card) values ('m@1', 'base', '/', '{}')"
            )
            await conn.execute("insert into aliases (name, live) values ('code', 'm@1')")
            await work(conn)

    asyncio.run(run())


def test_a_cycle_goes_through_its_states_and_ends_once(database_dsn: str) -> None:
    async def work(conn: Connection) -> None:
        begun = await ledger.begin(conn, "code", {})
        assert (begun.state, begun.incumbent) == ("claiming", "m@1")
        learning = await ledger.advance(conn, begun, "learning")
        with pytest.raises(IllegalTransition):
            await ledger.advance(conn, learning, "canary")
        with pytest.raises(ledger.LostLease):
            await ledger.advance(conn, begun, "learning")
        ended = await ledger.advance(
            conn, learning, "ended", outcome="no_signal", reason="why", learning={"rows": 0}
        )
        assert (ended.outcome, ended.learning) == ("no_signal", {"rows": 0})
        assert await ledger.current(conn, "code") is None
        assert [cycle.id for cycle in await ledger.recent(conn, "code")] == [begun.id]

    on_database(database_dsn, work)


def test_an_alias_has_one_open_cycle(database_dsn: str) -> None:
    async def work(conn: Connection) -> None:
        begun = await ledger.begin(conn, "code", {})
        with pytest.raises(
            ledger.AlreadyOpen, match=f"cycle {begun.id} of 'code' is claiming"
        ) as no:
            await ledger.begin(conn, "code", {})
        assert no.value.cycle == begun
        assert await ledger.current(conn, "code") == begun

    on_database(database_dsn, work)


def test_of_two_that_begin_a_cycle_at_once_one_is_told_of_the_others(database_dsn: str) -> None:
    async def begin(conn: Connection) -> ledger.Cycle:
        async with conn.transaction():
            return await ledger.begin_release(conn, "code", "m@1", "by hand")

    async def work(conn: Connection) -> None:
        await conn.commit()
        async with await psycopg.AsyncConnection.connect(database_dsn) as other:
            found = await asyncio.gather(begin(conn), begin(other), return_exceptions=True)
        (first,) = (one for one in found if isinstance(one, ledger.Cycle))
        (second,) = (one for one in found if isinstance(one, ledger.AlreadyOpen))
        assert second.cycle == first

    on_database(database_dsn, work)


def test_an_unknown_alias_has_no_cycle(database_dsn: str) -> None:
    async def work(conn: Connection) -> None:
        with pytest.raises(LookupError, match="nobody"):
            await ledger.begin(conn, "nobody", {})

    on_database(database_dsn, work)


def test_a_lease_is_its_owners_until_it_expires(database_dsn: str) -> None:
    async def work(conn: Connection) -> None:
        assert await ledger.take_lease(conn, "cycle/code", "one", 60)
        assert not await ledger.take_lease(conn, "cycle/code", "two", 60)
        assert await ledger.take_lease(conn, "cycle/code", "one", 60)
        await conn.execute("update leases set expires = now() - interval '1 second'")
        assert await ledger.take_lease(conn, "cycle/code", "two", 60)
        assert not await ledger.take_lease(conn, "cycle/code", "one", 60)
        assert not await ledger.take_lease(conn, "cycle/code", "one", 60, after="three")
        assert await ledger.take_lease(conn, "cycle/code", "one", 60, after="two")

    on_database(database_dsn, work)


def test_the_baseline_is_the_last_promoted_cycles(database_dsn: str) -> None:
    async def work(conn: Connection) -> None:
        for outcome, total in (("promoted", 2.0), ("rejected", 9.0)):
            cycle = await ledger.begin(conn, "code", {})
            await ledger.write_baseline(conn, cycle.id, Baseline({"s": 4.0}, {"s": total}))
            await ledger.advance(conn, cycle, "ended", outcome=outcome)
        assert await ledger.read_baseline(conn, "code") == Baseline({"s": 4.0}, {"s": 2.0})

    on_database(database_dsn, work)


async def read_news(conn: Connection, most: int = 9, *, follow_ups: bool = False) -> News:
    return await ledger.read_news(conn, "code", most=most, follow_ups=follow_ups)


def test_news_are_counted_as_far_as_they_matter(database_dsn: str) -> None:
    chat = {"alias": "code", "endpoint": "chat", "session": "s"}
    ids = [f"g{n}" for n in range(6)]

    async def work(conn: Connection) -> None:
        await record_rows(conn, [make_generation(id, created_at=now(), **chat) for id in ids], [])
        nothing, chats = await read_news(conn, 3), await read_news(conn, 3, follow_ups=True)
        assert (nothing.judged, nothing.followed) == (0, 1)
        assert (chats.judged, chats.followed) == (0, 3)
        await record_rows(conn, [], [make_feedback(id, id, received_at=now()) for id in ids])
        some, all_ = await read_news(conn, 3), await read_news(conn, 9)
        assert (some.judged, some.followed) == (3, 0)
        assert (all_.judged, all_.followed) == (6, 0)

    on_database(database_dsn, work)


def test_news_are_answers_that_something_was_said_of(database_dsn: str) -> None:
    """Each counts once, whatever is sent of it, and what was only shown does not."""

    async def work(conn: Connection) -> None:
        assert await read_news(conn) == News(0, 0, 0.0, math.inf)
        await record_rows(
            conn,
            [make_generation(id, alias="code", created_at=now()) for id in "abc"],
            [
                *(make_feedback(f"a{n}", "a", received_at=now(), signal="shown") for n in range(9)),
                *(make_feedback(f"b{n}", "b", received_at=now()) for n in range(9)),
            ],
        )
        first = await read_news(conn)
        assert (first.judged, first.followed, first.since_end) == (1, 0, math.inf)
        cycle = await ledger.begin(conn, "code", {})
        await ledger.advance(conn, cycle, "ended", outcome="no_signal")
        await conn.execute(
            "update cycles set started_at = started_at - interval '50 s',"
            " ended_at = ended_at - interval '20 s'"
        )
        await record_rows(
            conn, [], [make_feedback("c", "c", received_at=now(), signal="correction", text="x")]
        )
        news = await read_news(conn)
        assert news.judged == 2
        assert news.since_start == pytest.approx(50, abs=15)
        assert news.since_end == pytest.approx(20, abs=15)

    on_database(database_dsn, work)


def test_what_a_cycle_had_no_room_for_is_news_for_the_next(database_dsn: str) -> None:
    async def work(conn: Connection) -> None:
        await record_rows(conn, [make_generation("a", alias="code", created_at=now())], [])
        for left, outcome in ((9, "promoted"), (4, "failed"), (8, "restarted")):
            cycle = await ledger.begin(conn, "code", {})
            cycle = await ledger.advance(conn, cycle, "learning", learning={ledger.LEFT: left})
            assert ledger.left_by(cycle) == left
            await ledger.advance(conn, cycle, "ended", outcome=outcome)
        trial = await ledger.begin(conn, "code", {})
        await ledger.advance(conn, trial, "ended", outcome="rejected")
        assert (await ledger.read_news(conn, "code")).judged == 4

    on_database(database_dsn, work)


async def record_rows(
    conn: Connection, generations: list[Generation], feedback: list[Feedback]
) -> None:
    await conn.commit()
    await prepare(conn)
    async with conn.transaction():
        await store(conn, [encode(one) for one in generations], feedback)


def now() -> datetime:
    return datetime.now(UTC)


async def begin_release(conn: Connection) -> ledger.Cycle:
    """Of the checkpoint m@2, made on what is live."""
    await conn.execute(
        "insert into checkpoints (id, kind, folder, base, card)"
        " values ('m@2', 'adapter', '/', 'm@1', '{}')"
    )
    return await ledger.begin_release(conn, "code", "m@2", "by hand")


def test_a_cancelled_cycle_ends_with_its_canary_and_its_reason(database_dsn: str) -> None:
    async def work(conn: Connection) -> None:
        with pytest.raises(AliasError, match="nothing to cancel"):
            await ledger.cancel(conn, "code", "why")
        begun = await begin_release(conn)
        await start_canary(conn, "code", "m@2", 0.5, cycle=begun.id, reason="by hand")
        ended = await ledger.cancel(conn, "code", "tickets")
        assert (ended.id, ended.outcome, ended.reason) == (begun.id, "cancelled", "tickets")
        assert await ledger.current(conn, "code") is None
        assert (await read(conn, "code")).canary is None
        with pytest.raises(ledger.LostLease):
            await ledger.advance(conn, begun, "ended", outcome="promoted")

    on_database(database_dsn, work)


def test_a_restarted_cycle_ends_with_its_canary(database_dsn: str) -> None:
    async def work(conn: Connection) -> None:
        begun = await begin_release(conn)
        await start_canary(conn, "code", "m@2", 0.5, cycle=begun.id, reason="by hand")
        (ended,) = await ledger.restart(conn, [begun.id], "somebody was forgotten")
        assert (ended.id, ended.outcome) == (begun.id, "restarted")
        assert (await read(conn, "code")).canary is None
        assert await ledger.restart(conn, [begun.id], "again") == []

    on_database(database_dsn, work)


def test_who_begins_a_canary_while_its_cycle_is_restarted_does_not(database_dsn: str) -> None:
    """Neither waits for what the other holds."""

    async def work(conn: Connection) -> None:
        begun = await begin_release(conn)
        await conn.commit()
        async with await psycopg.AsyncConnection.connect(database_dsn) as other:
            await ledger.current(other, "code")  # begins a transaction
            await start_canary(other, "code", "m@2", 0.5, cycle=begun.id, reason="by hand")
            restarting = asyncio.create_task(ledger.restart(conn, [begun.id], "forgotten"))
            await asyncio.sleep(0.2)
            await ledger.advance(other, begun, "ended", outcome="promoted")
        assert await restarting == []

    on_database(database_dsn, work)


def test_recent_cycles_are_those_before_one(database_dsn: str) -> None:
    async def work(conn: Connection) -> None:
        ids: list[int] = []
        for _ in range(3):
            cycle = await ledger.begin(conn, "code", {})
            await ledger.advance(conn, cycle, "ended", outcome="no_signal")
            ids.append(cycle.id)
        before = await ledger.recent(conn, "code", 20, before=ids[2])
        assert [cycle.id for cycle in before] == [ids[1], ids[0]]

    on_database(database_dsn, work)
