"""A month of synthetic traffic by the real writer: figures are those of an independent count."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb
from tests.record.rows import make_feedback, make_generation

from liveweights.exposure.facts import Learnt, Traffic
from liveweights.exposure.read import (
    count_reactions,
    read_figures,
    read_learnt,
    read_tenants,
    read_traffic,
)
from liveweights.exposure.revenue import in_units
from liveweights.exposure.shares import list_shares
from liveweights.insight.window import make_window
from liveweights.meter.ledger import Ledger
from liveweights.meter.price_rows import add_price
from liveweights.meter.prices import Price, price_from
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.record.writer import Writer
from liveweights.store.database import Pool, open_pool

from .models import NAMES, SERVED

SINCE = datetime(2026, 10, 1, tzinfo=UTC)
UNTIL = datetime(2026, 10, 31, tzinfo=UTC)
PRICES = {
    "big": Price(input=2.0, output=8.0, currency="USD"),
    "code": Price(input=0.5, output=0.5, currency="EUR"),
}
ALIASES = list(NAMES)


def draw_month() -> tuple[list[Generation], list[Feedback]]:
    """600 answers from two days before the month to two days after it, half of them rated."""
    chance = random.Random(7)
    generations: list[Generation] = []
    reactions: list[Feedback] = []
    for n in range(600):
        at = SINCE - timedelta(days=2) + timedelta(seconds=chance.randrange(34 * 86_400))
        prompt, output = chance.randrange(1, 40), chance.randrange(1, 9)
        generation = make_generation(
            f"g{n}",
            created_at=at,
            alias=chance.choice(ALIASES),
            tenant=chance.choice(["acme", "beta"]),
            user=chance.choice(["ada", "bob", "cyd", None]),
            consent=chance.random() < 0.7,
            prompt_ids=list(range(prompt)),
            output_ids=list(range(output)),
            logprobs=[-1.0] * output,
            raw_logprobs=[-1.0] * output,
        )
        generations.append(generation)
        if chance.random() < 0.5:
            reactions.append(
                make_feedback(
                    f"f{n}",
                    generation.id,
                    tenant=generation.tenant,
                    signal=chance.choice(["accepted", "rejected"]),
                    received_at=at + timedelta(minutes=1),
                )
            )
    return generations, reactions


def cost(one: Generation) -> int:
    price = PRICES.get(one.alias)
    if price is None:
        return 0
    return round(1000 * (price.input * len(one.prompt_ids) + price.output * len(one.output_ids)))


def earn(some: Iterable[Generation]) -> Counter[str]:
    """By currency."""
    sums = Counter[str]()
    for one in some:
        if one.alias in PRICES:
            sums[PRICES[one.alias].currency] += cost(one)
    return sums


async def write_month(
    pool: Pool, generations: Sequence[Generation], reactions: Sequence[Feedback] = ()
) -> None:
    """As the service would, with what answers cost since the month began."""
    async with pool.connection() as conn:
        for alias, price in PRICES.items():
            row = price_from(price, alias, SINCE - timedelta(days=9), "operator")
            await add_price(conn, row, lead=timedelta(days=-9999))
    async with Writer(pool, linger=0.0, charge=Ledger()) as writer:
        for generation in generations:
            await writer.add_generation(generation)
        for reaction in reactions:
            await writer.add_feedback(reaction)


def test_figures_are_those_of_an_independent_count(database_dsn: str) -> None:
    generations, reactions = draw_month()

    async def go() -> dict[str, Any]:
        pool = await open_pool(database_dsn)
        await write_month(pool, generations, reactions)
        async with pool.connection() as conn:
            read = {
                "traffic": await read_traffic(conn, SINCE, UNTIL),
                "tenants": await read_tenants(conn, SINCE, UNTIL),
                "figures": await read_figures(conn, UNTIL),
                "reactions": await count_reactions(conn),
            }
        await pool.close()
        return read

    read = asyncio.run(go())
    month = [one for one in generations if SINCE <= one.created_at < UNTIL]
    assert 500 < len(month) < 600
    judged = {one.generation: one.signal for one in reactions}
    counted = Counter((one.alias, one.created_at.date()) for one in month)
    assert {(one.alias, one.day): one.answers for one in read["traffic"]} == counted
    assert read["tenants"] == {
        (alias, None): {one.tenant for one in month if one.alias == alias} for alias in ALIASES
    }
    for alias in ALIASES:
        own = [one for one in month if one.alias == alias]
        rows = [one for one in read["traffic"] if one.alias == alias]
        assert sum(x.prompt_tokens for x in rows) == sum(len(x.prompt_ids) for x in own)
        assert sum(x.output_tokens for x in rows) == sum(len(x.output_ids) for x in own)
        revenue = Counter[str]()
        for row in rows:
            revenue.update(row.revenue)
        assert revenue == earn(own)
        for signal in ("accepted", "rejected"):
            clicks = sum(judged.get(x.id) == signal for x in own)
            assert sum(getattr(x, signal) for x in rows) == clicks

    figures = read["figures"]
    assert figures.users_month == len({(x.tenant, x.user) for x in month if x.user}) == 6
    assert figures.users_days == 30
    assert figures.revenue_month == pytest.approx(in_units(earn(month)))
    year = [one for one in generations if one.created_at < UNTIL]
    assert figures.revenue_year == pytest.approx(in_units(earn(year)))
    assert set(figures.revenue_year) == {"EUR", "USD"}

    consented = {one.id: one.alias for one in generations if one.consent}
    assert read["reactions"] == Counter(
        consented[one.generation] for one in reactions if one.generation in consented
    )

    shares = {
        one.value: one
        for one in list_shares(SERVED, read["traffic"], [], "country", tenants=read["tenants"])
    }
    chinese = [one for one in month if one.alias in ("code", "chat", "big", "far")]
    assert shares["CN"].answer_share == pytest.approx(len(chinese) / len(month))
    assert shares["CN"].revenue_share == {"EUR": 1.0, "USD": 1.0}


def test_windows_that_adjoin_have_each_answer_and_its_revenue_once(database_dsn: str) -> None:
    """Whatever the hour at which they are asked about."""
    generations = draw_month()[0]
    now = UNTIL + timedelta(days=2, hours=17, minutes=1)

    async def go() -> list[tuple[Traffic, ...]]:
        pool = await open_pool(database_dsn)
        await write_month(pool, generations)
        windows = [
            make_window("60d", "20d", "1d", now=now),
            make_window("20d", "now", "1d", now=now),
        ]
        async with pool.connection() as conn:
            read = [await read_traffic(conn, one.since, one.until) for one in windows]
        await pool.close()
        return read

    former, latter = asyncio.run(go())
    assert former
    assert latter
    edge = (now - timedelta(days=20)).date()
    for read, own in (
        (former, [one for one in generations if one.created_at.date() < edge]),
        (latter, [one for one in generations if one.created_at.date() >= edge]),
    ):
        assert sum(one.answers for one in read) == len(own)
        revenue = Counter[str]()
        for one in read:
            revenue.update(one.revenue)
        assert revenue == earn(own)


def test_it_is_said_on_how_many_days_users_were_counted(database_dsn: str) -> None:
    with psycopg.connect(database_dsn) as conn:
        for days, restored in ((1, None), (2, None), (3, UNTIL), (40, None), (-1, None)):
            conn.execute(
                "insert into archives (day, generations, feedback, files, restored_at)"
                " values (%s, 1, 0, '{}', %s)",
                (UNTIL.date() - timedelta(days=days), restored),
            )

    async def go() -> int:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            return (await read_figures(conn, UNTIL)).users_days

    assert asyncio.run(go()) == 28


def test_what_was_learnt_is_what_is_in_what_is_live(database_dsn: str) -> None:
    base = "base@000000000000"
    began = datetime(2026, 10, 1, tzinfo=UTC)
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, card) values (%s, 'base', '/', '{}')",
            (base,),
        )
        conn.execute("insert into aliases (name, live) values ('code', %s)", (base,))
        for outcome, gain, withdrawn, hours in (
            ("promoted", 0.1, None, 1),
            ("promoted", 0.3, began, 2),
            ("promoted", None, None, 1),
            ("rejected", -0.2, None, 3),
            ("restarted", None, None, 9),
            (None, None, None, None),
        ):
            reward = None if gain is None else {"mean": gain}
            conn.execute(
                "insert into cycles (alias, state, incumbent, outcome, settings, verdict,"
                " withdrawn_at, started_at, ended_at)"
                " values ('code', 'ended', %s, %s, '{}', %s, %s, %s, %s)",
                (
                    base,
                    outcome,
                    Jsonb({"outcome": "PASS", "evidence": {"reward": reward}}),
                    withdrawn,
                    began,
                    None if hours is None else began + timedelta(hours=hours),
                ),
            )

    async def go() -> tuple[Learnt, ...]:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            return await read_learnt(conn)

    (learnt,) = asyncio.run(go())
    assert (learnt.alias, learnt.promoted, learnt.cycles) == ("code", 2, 4)
    assert learnt.gain == pytest.approx(0.1)
    assert learnt.seconds == 7 * 3600
