"""The pools in Postgres: the same as in memory, and the same for all processes."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import psycopg
import pytest
from tests.meter import race
from tests.meter.race import CONCURRENCY, KEY, MOST, RESERVED

from liveweights.meter.desk import Desk
from liveweights.meter.holdings import Holding
from liveweights.meter.lease_rows import LeaseRows, keep_giving_back
from liveweights.meter.leases import Ask, Grant, LeasesAway, LeaseStore, Limit, MemoryLeases
from liveweights.meter.limits import Limiter, LimitReached, Spending
from liveweights.meter.periods import EVER
from liveweights.meter.settings import RateLimits
from liveweights.store.database import Pool, open_pool

MONEY = Limit("tenant acme", "month", datetime(2026, 3, 1, tzinfo=UTC), "money", 1000)
SLOTS = Limit("key a", "concurrency", EVER, "slots", 4)


def on(dsn: str, work: Callable[[Pool], Awaitable[None]]) -> None:
    async def run() -> None:
        pool = await open_pool(dsn)
        try:
            await work(pool)
        finally:
            await pool.close()

    asyncio.run(run())


SCRIPT = (
    [Ask(MONEY, wanted=300, least=300, ahead=100), Ask(SLOTS, wanted=1, least=1)],
    [Ask(MONEY, used=150, returned=50)],
    [Ask(MONEY, used=400, wanted=100, least=100), Ask(SLOTS, returned=1)],
    [Ask(SLOTS, wanted=5, least=2)],
)


async def play(store: LeaseStore) -> list[list[tuple[int, int, int]]]:
    return [
        [(grant.held, grant.rest, grant.used) for grant in await store.exchange(asks)]
        for asks in SCRIPT
    ]


def test_the_database_gives_what_memory_gives(database_dsn: str) -> None:
    async def work(pool: Pool) -> None:
        expected = await play(MemoryLeases(lambda: 0.0))
        assert await play(LeaseRows(pool, "a")) == expected
        assert await LeaseRows(pool, "a").exchange([]) == []
        async with pool.connection() as conn:
            cursor = await conn.execute(
                "select a.most, a.rest + coalesce(sum(l.amount), 0) + a.used"
                " from allowances a left join allowance_leases l using (owner, name, begins)"
                " group by a.owner, a.name, a.begins"
            )
            assert all(most == total for most, total in await cursor.fetchall())

    on(database_dsn, work)


def test_processes_share_and_the_dead_give_back(database_dsn: str) -> None:
    async def work(pool: Pool) -> None:
        one, other = LeaseRows(pool, "one"), LeaseRows(pool, "other")

        async def ask(store: LeaseRows, wanted: int) -> Grant:
            (grant,) = await store.exchange([Ask(MONEY, wanted=wanted, least=wanted)])
            return grant

        assert (await ask(one, 700)).held == 700
        refused = await ask(other, 700)
        assert (refused.held, refused.rest, refused.others) == (0, 300, 700)
        async with pool.connection() as conn:
            await conn.execute("update allowance_leases set until = now() where instance = 'one'")
        assert (await ask(other, 700)).held == 700

    on(database_dsn, work)


class Losing(LeaseRows):
    """Its answers get lost, once what was asked has been committed."""

    lose = False

    async def exchange(self, asks: Sequence[Ask]) -> list[Grant]:
        grants = await super().exchange(asks)
        if self.lose:
            raise LeasesAway("the connection broke")
        return grants


def test_what_was_committed_without_an_answer_is_counted_once(database_dsn: str) -> None:
    async def work(pool: Pool) -> None:
        one, other = Losing(pool, "one"), LeaseRows(pool, "other")
        desk, holding = Desk(one, time.monotonic, lambda *_: None), Holding(MONEY, time.monotonic())
        await desk.ask([(holding, 400)])
        holding.take(400)
        holding.settle(400, 100)
        one.lose = True
        await desk.report([holding], give_back=True)
        async with pool.connection() as conn:
            await conn.execute("update allowance_leases set until = now() - interval '1 hour'")
        one.lose = False
        (grant,) = await other.exchange([Ask(MONEY, wanted=900, least=900)])
        assert (grant.held, grant.used) == (900, 100)
        await desk.report([holding])
        (grant,) = await other.exchange([Ask(MONEY)])
        assert (grant.rest, grant.used) == (0, 100)
        assert holding.is_empty()

    on(database_dsn, work)


def test_a_database_that_is_away_is_said_to_be() -> None:
    async def run() -> None:
        pool = Pool("host=/nowhere", open=False)
        with pytest.raises(LeasesAway):
            await LeaseRows(pool, "a").exchange([Ask(SLOTS)])
        with pytest.raises(LeasesAway):
            await LeaseRows(pool, "a").recall(["key a"])

    asyncio.run(run())


def test_what_one_process_does_not_need_another_gets_at_once(database_dsn: str) -> None:
    async def work(pool: Pool) -> None:
        limits = RateLimits(concurrency=2)
        one = Limiter(limits, {}, store=LeaseRows(pool, "one"))
        other = Limiter(limits, {}, store=LeaseRows(pool, "other"))
        listening = asyncio.create_task(keep_giving_back(database_dsn, one))
        running, ended = await one.begin(KEY_OF_NOBODY), await one.begin(KEY_OF_NOBODY)
        ended.close()
        async with asyncio.timeout(60):
            while True:  # until it listens
                try:
                    second = await other.begin(KEY_OF_NOBODY)
                    break
                except LimitReached:
                    await asyncio.sleep(0.1)
        with pytest.raises(LimitReached):
            await other.begin(KEY_OF_NOBODY)
        running.close()
        second.close()
        listening.cancel()

    on(database_dsn, work)


KEY_OF_NOBODY = race.Client("nobody", "a")


def test_a_race_of_four_processes_for_one_budget(database_dsn: str) -> None:
    """64 clients in each. What they spend, together, is never more than there is; and what is left
    is less than two requests of each process would have reserved."""
    children = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.meter.race", database_dsn, f"process-{number}"],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(4)
    ]
    try:
        told = [json.loads(child.communicate(timeout=90)[0]) for child in children]
    finally:
        for child in children:
            child.kill()
    spent = sum(one["spent"] for one in told)
    assert spent <= MOST
    assert spent > MOST - 8 * RESERVED
    assert all(one["refused"] for one in told)
    assert max(one["peak"] for one in told) <= CONCURRENCY
    with psycopg.connect(database_dsn) as conn:
        row = conn.execute(
            "select rest, used from allowances where owner = %s and name = 'all'",
            (f"key {KEY.key}",),
        ).fetchone()
        assert row == (MOST - spent, spent)
        sums = conn.execute(
            "select a.most, a.rest + coalesce(sum(l.amount), 0) + a.used from allowances a"
            " left join allowance_leases l using (owner, name, begins)"
            " group by a.owner, a.name, a.begins"
        ).fetchall()
        assert len(sums) == 2
        assert all(most == total for most, total in sums)


def await_alone(conn: psycopg.Connection) -> None:
    """Until no other client is connected to the database."""
    others = (
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and backend_type = 'client backend' and pid <> pg_backend_pid()"
    )
    deadline = time.monotonic() + 60
    while conn.execute(others).fetchone() != (0,):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_a_killed_process_had_is_spent_by_others(database_dsn: str) -> None:
    def start(name: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.meter.race", database_dsn, name]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    with psycopg.connect(database_dsn, autocommit=True) as conn, start("killed") as killed:
        try:
            used = "select coalesce(sum(used), 0) from allowances where name = 'all'"
            while not conn.execute(used).fetchone()[0]:  # type: ignore[index]
                assert killed.poll() is None
                time.sleep(0.01)
        finally:
            killed.kill()
            killed.wait()
        await_alone(conn)  # its last transactions may still be committed
        before = conn.execute(used).fetchone()[0]  # type: ignore[index]
        conn.execute("update allowance_leases set until = now()")
        with start("alive") as alive:
            try:
                told = json.loads(alive.communicate(timeout=90)[0])
            finally:
                alive.kill()
        assert told["refused"]
        row = conn.execute("select rest, used from allowances where name = 'all'").fetchone()
        assert row is not None
        assert row == (MOST - before - told["spent"], before + told["spent"])
        # Refused with less left than one reserves; of what the others reserved until then they
        # give back up to half.
        assert 0 <= row[0] < RESERVED + (CONCURRENCY - 1) * RESERVED // 2


def test_most_of_a_budget_is_told_by_one_process_once(database_dsn: str) -> None:
    async def work(pool: Pool) -> None:
        told: list[Spending] = []
        limiters = [
            Limiter(RateLimits(), {}, store=LeaseRows(pool, name, warn_at=0.8), spent=told.append)
            for name in ("one", "other")
        ]
        for cost, after in ((MOST // 2, 0), (MOST // 4, 0), (MOST // 10, 1), (MOST // 10, 1)):
            for limiter in limiters:
                permit = await limiter.begin(KEY)
                await permit.reserve(0, cost // 2)
                permit.cost = cost // 2
                permit.close()
                await limiter.give_back()
            assert len(told) == after
        assert (told[0].tenant, told[0].limit.owner) == ("acme", f"key {KEY.key}")
        assert told[0].used >= 0.8 * MOST

    on(database_dsn, work)
