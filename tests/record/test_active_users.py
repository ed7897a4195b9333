"""Users of a month by the real writer: as many as an independent count finds."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from tests.record.rows import make_feedback, make_generation

from liveweights.exposure.duties import Figures
from liveweights.exposure.read import read_figures
from liveweights.record import forget as forgetting
from liveweights.record.active_users import Noted, keep_month
from liveweights.record.batch import Fate, prepare, store
from liveweights.record.binary import encode
from liveweights.record.forget import forget
from liveweights.record.generation import Generation
from liveweights.record.writer import Writer
from liveweights.store.database import Connection, open_pool

ALL = "select tenant, user_id, last_day from active_users order by tenant, user_id"


def draw(count: int, now: datetime) -> list[Generation]:
    chance = random.Random(count)
    return [
        make_generation(
            f"g{n}",
            created_at=now - timedelta(seconds=chance.randrange(40 * 86_400)),
            checkpoint=chance.choice(["m@0123456789ab", "m@import"]),
            tenant=chance.choice(["acme", "beta"]),
            user=chance.choice([None, *(f"user-{n}" for n in range(40))]),
        )
        for n in range(count)
    ]


def record(dsn: str, generations: list[Generation]) -> None:
    async def go() -> None:
        pool = await open_pool(dsn)
        async with Writer(pool, linger=0.0) as writer:
            for generation in generations:
                await writer.add_generation(generation)
        await pool.close()

    asyncio.run(go())


def read(dsn: str) -> dict[tuple[str, str], date]:
    with psycopg.connect(dsn) as conn:
        return {(tenant, user): day for tenant, user, day in conn.execute(ALL).fetchall()}


def meant(generations: list[Generation]) -> dict[tuple[str, str], date]:
    days: dict[tuple[str, str], date] = {}
    for one in generations:
        if one.user and not one.checkpoint.endswith("@import"):
            day = one.created_at.date()
            days[one.tenant, one.user] = max(day, days.get((one.tenant, one.user), day))
    return days


def test_users_are_those_of_an_independent_count(database_dsn: str, now: datetime) -> None:
    generations = draw(300, now)
    record(database_dsn, generations)
    assert read(database_dsn) == meant(generations)

    async def count(until: datetime) -> Figures:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            return await read_figures(conn, until)

    first = now.date() - timedelta(days=30)
    month = [day for day in meant(generations).values() if day >= first]
    assert 0 < len(month) < len(meant(generations))
    assert asyncio.run(count(datetime.now(UTC))).users_month == len(month)
    # Yesterday's month is counted from the answers: not who asked today.
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    former = {
        (one.tenant, one.user)
        for one in generations
        if one.user and not one.checkpoint.endswith("@import")
        if today - timedelta(days=30) <= one.created_at < today
    }
    assert asyncio.run(count(today)).users_month == len(former)


def test_days_that_were_away_when_counting_began_are_not_counted(
    database_dsn: str, now: datetime
) -> None:
    with psycopg.connect(database_dsn) as conn:
        for days, uncounted in ((1, False), (2, True), (3, True), (40, True)):
            conn.execute(
                "insert into archives (day, generations, feedback, files, uncounted)"
                " values (%s, 1, 0, '{}', %s)",
                (now.date() - timedelta(days=days), uncounted),
            )

    async def count() -> int:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            return (await read_figures(conn, datetime.now(UTC))).users_days

    assert asyncio.run(count()) == 28


def test_nobody_is_noted_twice_for_a_day(now: datetime) -> None:
    noted, today = Noted(kept=4), now
    users = {("acme", f"user-{n}"): today - timedelta(days=n % 2) for n in range(3)}
    assert noted.list_new(users) == users
    noted.add(users)
    assert noted.list_new(users) == {}
    assert noted.list_new({("acme", "user-1"): today}) == {("acme", "user-1"): today}
    noted.add({("acme", "user-0"): today - timedelta(days=3)})  # recorded late
    assert noted.list_new(users) == {}
    noted.add({("beta", f"user-{n}"): today for n in range(9)})
    noted.add({("beta", f"user-{n}"): today for n in range(9, 18)})
    assert noted.list_new(users) == users  # no longer known


def test_who_is_not_back_for_a_month_is_not_kept(database_dsn: str, now: datetime) -> None:
    generations = draw(300, now)
    record(database_dsn, generations)
    first = now.date() - timedelta(days=30)

    async def go() -> None:
        pool = await open_pool(database_dsn)
        task = asyncio.create_task(keep_month(pool))
        while any(day < first for day in read(database_dsn).values()):
            await asyncio.sleep(0.05)
        task.cancel()
        await pool.close()

    asyncio.run(asyncio.wait_for(go(), 60))
    kept = {who: day for who, day in meant(generations).items() if day >= first}
    assert read(database_dsn) == kept


def test_who_is_forgotten_while_asking_is_in_nobodys_way(
    database_dsn: str, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both take the user, then answers and rollups: in another order one of them is broken off."""
    yesterday, soon = now - timedelta(days=1), datetime.now(UTC) + timedelta(minutes=1)
    before = [
        make_generation(user, created_at=yesterday, tenant="acme", user=user)
        for user in ("ada", "bob")
    ]
    record(database_dsn, before)
    removed, go_on = asyncio.Event(), asyncio.Event()
    remove = forgetting._remove

    async def pause(conn: Connection, ids: Sequence[str]) -> int:
        count = await remove(conn, ids)
        removed.set()
        await go_on.wait()
        return count

    monkeypatch.setattr(forgetting, "_remove", pause)

    async def drop() -> int:
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as conn:
            return (await forget(conn, "acme", "ada")).generations

    async def ask() -> list[Fate]:
        await removed.wait()
        row = encode(make_generation("late", created_at=soon, tenant="acme", user="ada"))
        said = make_feedback("f1", "bob", tenant="acme", received_at=soon)
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            await prepare(conn)
            await conn.commit()
            asyncio.get_running_loop().call_later(1, go_on.set)
            async with conn.transaction():
                return await store(conn, [row], [said], survived=[None])

    async def both() -> tuple[int, list[Fate]]:
        async with asyncio.TaskGroup() as group:
            gone, fates = group.create_task(drop()), group.create_task(ask())
        return gone.result(), fates.result()

    assert asyncio.run(both()) == (1, [Fate.NEW])
    assert read(database_dsn)["acme", "ada"] == soon.date()


def test_who_is_forgotten_is_nobody_until_coming_back(database_dsn: str, now: datetime) -> None:
    def ask(id: str, at: datetime) -> None:
        record(database_dsn, [make_generation(id, created_at=at, tenant="acme", user="ada")])

    async def drop() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            await conn.set_autocommit(True)
            await forget(conn, "acme", "ada")

    ask("g1", now)
    assert read(database_dsn) == {("acme", "ada"): now.date()}
    asyncio.run(drop())
    assert read(database_dsn) == {}
    ask("g2", now - timedelta(seconds=5))  # asked before, recorded late
    assert read(database_dsn) == {}
    later = datetime.now(UTC) + timedelta(seconds=1)
    ask("g3", later)
    ask("g4", now - timedelta(seconds=4))
    assert read(database_dsn) == {("acme", "ada"): later.date()}
