"""The ledger as rows: what it refuses, what shows, and when prices hold."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest
from tests.record.rows import make_generation
from tests.record.test_rollups import timed_id

from liveweights.meter.ledger import Ledger
from liveweights.meter.ledger_days import OPENING, close_days, find_broken_days, read_days
from liveweights.meter.ledger_proof import prove
from liveweights.meter.price_rows import (
    LEAD,
    PriceError,
    Sold,
    add_price,
    assign_plan,
    read_book,
    read_plans,
    settle_prices,
    settle_sold,
)
from liveweights.meter.prices import EPOCH, Price, PriceRow, Side, Source, price_from
from liveweights.meter.reversals import ReversalError, reverse
from liveweights.meter.tenants import Terms, create_tenant, set_tenant
from liveweights.record import quarantine
from liveweights.record.archive import archive, restore
from liveweights.record.forgotten_files import forget_everywhere
from liveweights.record.generation import Generation
from liveweights.record.writer import Writer
from liveweights.release import aliases
from liveweights.store.database import Connection, open_pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register

T = TypeVar("T")
PRICE = price_from(Price(input=0.5, output=2.0), "live")
AMOUNT = 3 * 500 + 2 * 2000
"""Of `make_generation`."""
AGES = timedelta(days=-10_000)


def run(dsn: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def main() -> T:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            await conn.commit()
            return await work(conn)

    return asyncio.run(main())


def record(dsn: str, *answers: Generation, ledger: Ledger | None = None) -> None:
    async def main() -> None:
        pool = await open_pool(dsn)
        async with Writer(pool, charge=ledger or Ledger()) as writer:
            for g in answers:
                await writer.add_generation(g)
        await pool.close()

    asyncio.run(main())


def add(dsn: str, price: PriceRow, *, lead: timedelta = AGES) -> PriceRow:
    return run(dsn, lambda conn: add_price(conn, price, lead=lead))


def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as conn:
        return conn.execute(query.encode()).fetchall()


def tamper(dsn: str, statement: str) -> None:
    """As somebody who owns the database could."""
    with psycopg.connect(dsn) as conn:
        conn.execute("set session_replication_role = replica")
        conn.execute(statement.encode())


def test_an_answer_and_its_charge_come_together(database_dsn: str) -> None:
    price = add(database_dsn, replace(PRICE, since=EPOCH))
    g = make_generation("a", tenant="shop", key="12345678")
    record(database_dsn, g, g)
    found = rows(
        database_dsn, "select id, tenant, model, key, rule, price, amount, cost from ledger"
    )
    assert found == [("a", "shop", "live", "12345678", "sampled", price.id, AMOUNT, 0)]
    assert rows(database_dsn, "select cost_nanos from generations") == [(AMOUNT,)]
    assert rows(database_dsn, "select distinct cost_nanos from rollups") == [(AMOUNT,)]
    accounts = rows(database_dsn, "select account, nanos from postings order by 1")
    assert accounts == [("receivable:shop", AMOUNT), ("revenue:live", -AMOUNT)]


def test_what_was_removed_since_is_not_charged_again(database_dsn: str) -> None:
    """A spill offers an answer again whose user was forgotten after it had been stored."""
    add(database_dsn, replace(PRICE, since=EPOCH))
    record(database_dsn, make_generation("a"))
    with psycopg.connect(database_dsn) as conn:
        conn.execute("delete from generations")
    record(database_dsn, make_generation("a"), make_generation("b"))
    assert rows(database_dsn, "select id from ledger order by id") == [("a",), ("b",)]
    assert rows(database_dsn, "select count(*) from quarantine") == [(0,)]


def test_an_answer_from_quarantine_is_charged_once_and_an_imported_one_not(
    database_dsn: str,
) -> None:
    add(database_dsn, replace(PRICE, since=EPOCH))
    with psycopg.connect(database_dsn) as conn:
        conn.execute("alter table generations add constraint nope check (output <> 'poison')")

    async def work() -> None:
        pool = await open_pool(database_dsn)
        async with Writer(pool, linger=0, gather=0, charge=Ledger()) as writer:
            await writer.add_generation(make_generation("asked", output="poison"))
        async with Writer(pool, charge=Ledger(imported=True), imported=True) as writer:
            await writer.add_generation(make_generation("imported", output="poison"))
        await pool.close()

    async def retry(conn: Connection) -> tuple[int, int]:
        await conn.set_autocommit(True)
        charges = {"charge": Ledger(), "charge_imported": Ledger(imported=True)}
        assert await quarantine.retry(conn, **charges) == (0, 2)
        await conn.execute("alter table generations drop constraint nope")
        return await quarantine.retry(conn, **charges)

    asyncio.run(work())
    assert run(database_dsn, retry) == (2, 0)
    found = rows(database_dsn, "select id, rule, amount from ledger order by id")
    assert found == [("asked", "sampled", AMOUNT), ("imported", "imported", 0)]
    costs = rows(database_dsn, "select id, cost_nanos from generations order by id")
    assert costs == [("asked", AMOUNT), ("imported", 0)]
    assert run(database_dsn, prove).holds


def test_archives_and_the_forgotten_keep_money_right(database_dsn: str, tmp_path: Path) -> None:
    """A day goes to files, a user is forgotten there, and what is left of it comes back."""
    add(database_dsn, replace(PRICE, since=EPOCH))
    at = datetime(2026, 2, 1, 12, tzinfo=UTC)
    users = dict(enumerate(("ada", "bob", "bob")))
    record(
        database_dsn,
        *(
            make_generation(timed_id(at, number), created_at=at, user=user)
            for number, user in users.items()
        ),
    )
    query = "select id, amount, prompt_tokens, output_tokens from ledger order by id"
    before = rows(database_dsn, query)
    assert [amount for _, amount, *_ in before] == [AMOUNT] * 3

    def check(from_answers: int) -> None:
        proof = run(database_dsn, prove)
        assert proof.holds
        assert (proof.entries, proof.from_answers) == (3, from_answers)
        assert rows(database_dsn, query) == before

    check(3)
    run(database_dsn, lambda conn: archive(conn, at.date(), tmp_path))
    check(0)
    run(database_dsn, lambda conn: forget_everywhere(conn, "default", "ada", tmp_path))
    check(0)
    run(database_dsn, lambda conn: restore(conn, at.date(), tmp_path))
    check(2)


def test_answers_of_others_are_not_charged(database_dsn: str) -> None:
    add(database_dsn, replace(PRICE, since=EPOCH))
    record(database_dsn, make_generation("a"), ledger=Ledger(imported=True))
    assert rows(database_dsn, "select rule, amount from ledger") == [("imported", 0)]
    assert run(database_dsn, prove).holds


def test_a_checkpoint_that_was_asked_for_by_its_id_is_sold_as_its_model(database_dsn: str) -> None:
    price = add(database_dsn, replace(PRICE, since=EPOCH))
    base, child = "m@aaaaaaaaaaaa", "m@bbbbbbbbbbbb"

    async def release(conn: Connection) -> None:
        await register(conn, Checkpoint(base, "base", Path("/")), {})
        await register(conn, Checkpoint(child, "adapter", Path("/"), base, base), {})
        await aliases.create(conn, "live", base)
        await conn.commit()

    run(database_dsn, release)
    asked = (("a", "live", base), ("b", base, base), ("c", child, child), ("d", "m@1", "m@1"))
    record(
        database_dsn,
        *(make_generation(id, alias=alias, checkpoint=of) for id, alias, of in asked),
    )
    found = rows(database_dsn, "select id, model, checkpoint, rule, price from ledger order by id")
    assert found == [
        *((id, "live", of, "sampled", price.id) for id, _, of in asked[:3]),
        ("d", "m@1", "m@1", "unpriced", None),
    ]
    names = rows(database_dsn, "select alias from generations order by id")
    assert names == [(alias,) for _, alias, _ in asked]
    assert run(database_dsn, prove).holds


def test_rows_are_only_added(database_dsn: str) -> None:
    add(database_dsn, replace(PRICE, since=EPOCH))
    record(database_dsn, make_generation("a"))
    for statement in (
        "update ledger set amount = 0",
        "delete from ledger",
        "truncate ledger",
        "update prices set input = 0",
        "delete from ledger_days",
        "delete from invoices",
        "delete from plan_changes",
    ):
        with (
            psycopg.connect(database_dsn) as conn,
            pytest.raises(psycopg.errors.RaiseException, match="append-only"),
        ):
            conn.execute(statement.encode())


@pytest.mark.parametrize(
    ("statement", "shown"),
    [
        ("update ledger set amount = amount - 1 where id = 'b'", "amount"),
        ("update ledger set output_tokens = 1, amount = 3500 where id = 'b'", "output_tokens"),
        ("update ledger set price = null, currency = 'XXX', amount = 0, rule = 'unpriced'", "rule"),
        ("update generations set output_ids = '{1}' where id = 'b'", "output_tokens"),
        ("update generations set cost_nanos = 0 where id = 'b'", "the answer's cost"),
        ("update prices set input = 0", "amount"),
    ],
)
def test_a_changed_number_shows(database_dsn: str, statement: str, shown: str) -> None:
    add(database_dsn, replace(PRICE, since=EPOCH))
    record(database_dsn, make_generation("a"), make_generation("b"))
    assert run(database_dsn, prove).holds
    tamper(database_dsn, statement)
    proof = run(database_dsn, prove)
    assert not proof.holds
    assert {name for one in proof.differences for name in one.values} >= {shown}


def test_a_charge_that_is_gone_shows(database_dsn: str) -> None:
    add(database_dsn, replace(PRICE, since=EPOCH))
    now = datetime.now(UTC) + timedelta(minutes=1)
    record(database_dsn, make_generation("a", created_at=now), make_generation("b", created_at=now))
    tamper(database_dsn, "delete from ledger where id = 'b'")
    assert run(database_dsn, prove).missing == ["b"]


def test_a_day_that_is_sealed_shows_every_change(database_dsn: str) -> None:
    record(database_dsn, make_generation("a"), make_generation("b"), make_generation("c"))
    assert run(database_dsn, close_days) == []  # today is not over
    tamper(database_dsn, "update ledger set day = day - 2 where id in ('a', 'b')")
    tamper(database_dsn, "update ledger set day = day - 1 where id = 'c'")
    closed = run(database_dsn, close_days)
    assert [day.entries for day in closed] == [2, 1]
    assert run(database_dsn, close_days) == []
    days = run(database_dsn, read_days)
    assert [day.day for day in days] == [OPENING, *(day.day for day in closed)]
    assert run(database_dsn, find_broken_days) == []
    tamper(database_dsn, "update ledger set reason = 'x' where id = 'a'")
    assert run(database_dsn, find_broken_days) == [closed[0].day]
    tamper(database_dsn, "update ledger set reason = null where id = 'a'")
    assert run(database_dsn, prove).holds
    tamper(database_dsn, "delete from ledger where id = 'c'")
    assert run(database_dsn, find_broken_days) == [closed[1].day]


def test_a_charge_is_taken_back_once(database_dsn: str) -> None:
    add(database_dsn, replace(PRICE, since=EPOCH))
    record(database_dsn, make_generation("a"), make_generation("b"))
    with pytest.raises(ReversalError, match="no entry 'x'"):
        run(database_dsn, lambda conn: reverse(conn, ["a", "x"], "why"))
    assert run(database_dsn, lambda conn: reverse(conn, ["a", "a"], "why")) == 1
    for again in ("a", "rev_a"):
        with pytest.raises(ReversalError, match="is reversed already"):
            run(database_dsn, lambda conn, id=again: reverse(conn, [id], "why"))
    found = rows(database_dsn, "select reverses, amount, reason from ledger order by seq")
    assert found == [(None, AMOUNT, None), (None, AMOUNT, None), ("a", -AMOUNT, "why")]
    assert rows(database_dsn, "select sum(nanos)::int from charges") == [(AMOUNT,)]
    assert run(database_dsn, prove).holds
    tamper(database_dsn, "update ledger set amount = -1 where reverses = 'a'")
    assert not run(database_dsn, prove).holds


def test_a_price_is_there_before_it_holds(database_dsn: str) -> None:
    now = datetime.now(UTC)
    for since in (now, now - timedelta(days=1)):
        with pytest.raises(PriceError, match="may have been charged"):
            add(database_dsn, replace(PRICE, since=since), lead=LEAD)
    later = add(database_dsn, replace(PRICE, since=now + timedelta(hours=1)), lead=LEAD)

    async def soon(conn: Connection) -> PriceRow:
        return await add_price(conn, PRICE, default=True)

    first = run(database_dsn, soon)
    assert now + LEAD <= first.since < later.since
    with pytest.raises(PriceError, match="may have been charged"):
        run(database_dsn, lambda conn: assign_plan(conn, "shop", "pro", now))
    assert run(database_dsn, lambda conn: assign_plan(conn, "shop", "pro")) >= now + LEAD


def test_a_markup_needs_a_cost(database_dsn: str) -> None:
    marked_up = replace(PRICE, since=EPOCH, markup_ppm=200_000)
    with pytest.raises(PriceError, match="no cost of live in USD"):
        add(database_dsn, marked_up)
    add(database_dsn, PriceRow(since=EPOCH, side="cost", model="live", input=10**9))
    assert add(database_dsn, marked_up).id > 0
    record(database_dsn, make_generation("a"))
    found = rows(database_dsn, "select amount, cost from ledger")
    assert found == [(AMOUNT + 3600, 3000)]
    margin = rows(database_dsn, "select margin_nanos from charges")
    assert margin == [(AMOUNT + 600,)]


def test_the_settings_file_is_a_short_form(database_dsn: str) -> None:
    async def settle(conn: Connection, prices: dict[str, Price]) -> int:
        rows = {name: price_from(price, name) for name, price in prices.items()}
        return await settle_prices(conn, rows, "settings", "sale")

    cheap, dear = Price(input=0.5, output=2.0), Price(input=5.0, output=20.0)
    for prices, added in (
        ({"live": cheap}, 1),
        ({"live": cheap}, 0),
        ({"live": dear, "free": Price()}, 2),
        ({"live": dear, "free": Price()}, 0),
        ({"live": dear}, 1),
        ({}, 1),
        ({}, 0),
        ({"live": cheap}, 1),
    ):
        assert run(database_dsn, lambda conn, p=prices: settle(conn, p)) == added
    book = run(database_dsn, read_book)
    inputs = [500_000_000, 0, 5_000_000_000, 0, 0, 500_000_000]
    assert [row.input for row in book.prices] == inputs
    record(database_dsn, make_generation("old"))  # asked for before anything held
    record(database_dsn, make_generation("new", created_at=datetime.now(UTC) + timedelta(1)))
    assert rows(database_dsn, "select id, amount from ledger order by 1") == [
        ("new", AMOUNT),
        ("old", 0),
    ]


@pytest.mark.parametrize("side", ["sale", "cost"])
def test_what_a_source_has_withdrawn_holds_no_longer(database_dsn: str, side: Side) -> None:
    """The price for all models holds then, and what was charged stays as it was."""
    source: Source = "settings" if side == "sale" else "list"
    wanted = {"live": PriceRow(since=EPOCH, side=side, model="live", source=source, input=10**9)}

    async def settle(conn: Connection, rows: dict[str, PriceRow]) -> int:
        return await settle_prices(conn, rows, source, side)

    def ask(id: str) -> None:
        record(database_dsn, make_generation(id, created_at=datetime.now(UTC)))

    add(database_dsn, PriceRow(since=EPOCH, side=side, input=7 * 10**9))
    assert run(database_dsn, lambda conn: settle(conn, wanted)) == 1
    ask("particular")
    with psycopg.connect(database_dsn) as conn:  # as before there were withdrawals
        conn.execute(
            "insert into prices (since, side, model, currency, input, cached_input, output,"
            " reasoning, request, withheld, source)"
            " values (clock_timestamp(), %s, 'live', 'USD', 0, 0, 0, 0, 0, 'free', %s)",
            (side, source),
        )
    ask("zero")
    assert run(database_dsn, lambda conn: settle(conn, {})) == 1
    assert run(database_dsn, lambda conn: settle(conn, {})) == 0
    ask("general")
    column = "amount" if side == "sale" else "cost"
    found = dict(rows(database_dsn, f"select id, {column} / 1000 from ledger"))
    assert found == {"particular": 3, "zero": 0, "general": 21}
    assert run(database_dsn, prove).holds
    assert run(database_dsn, lambda conn: settle(conn, wanted)) == 1
    ask("again")
    assert dict(rows(database_dsn, f"select id, {column} / 1000 from ledger"))["again"] == 3


def test_a_markup_on_all_models_needs_no_cost_that_was_withdrawn(database_dsn: str) -> None:
    listed = PriceRow(
        since=EPOCH, side="cost", model="gone", source="list", input=1, currency="EUR"
    )
    add(database_dsn, PriceRow(since=EPOCH, side="cost", model="live", input=10**9))
    for wanted in ({"gone": listed}, dict[str, PriceRow]()):
        run(database_dsn, lambda conn, w=wanted: settle_prices(conn, w, "list", "cost"))
    add(database_dsn, PriceRow(since=datetime.now(UTC), markup_ppm=200_000))


def test_origins_stand_beside_charges(database_dsn: str) -> None:
    async def settle(conn: Connection, origin: str) -> None:
        await settle_sold(conn, [Sold(model="live", origin=origin, licence="mit")])

    record(database_dsn, make_generation("a"), make_generation("b", alias="other"))
    for origin in ("France", "Canada"):
        run(database_dsn, lambda conn, o=origin: settle(conn, o))
    found = rows(database_dsn, "select model, origin, licence from charges order by 1")
    assert found == [("live", "Canada", "mit"), ("other", "unknown", "unknown")]


def test_a_tenants_plan_holds_from_a_moment_later_on(database_dsn: str) -> None:
    async def change(conn: Connection) -> None:
        await create_tenant(conn, "shop", Terms(plan="pro"))
        await set_tenant(conn, "shop", {"note": "same plan"})
        await set_tenant(conn, "shop", {"plan": ""})
        await create_tenant(conn, "other", Terms())
        await conn.commit()

    before = datetime.now(UTC)
    run(database_dsn, change)
    changes = run(database_dsn, read_plans)
    assert [(one.tenant, one.plan) for one in changes] == [("shop", "pro"), ("shop", "")]
    assert all(one.since >= before + LEAD - timedelta(seconds=1) for one in changes)
