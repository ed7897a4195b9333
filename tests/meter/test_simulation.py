"""Two months of answers, with everything that goes wrong: the ledger is what an oracle works out
from the answers, what `verify` works out again, and what the invoices add up to."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence

import psycopg
import pytest

from liveweights.meter.invoice import Month as BilledMonth
from liveweights.meter.invoice_rows import InvoiceError, close_invoice, read_invoice
from liveweights.meter.ledger import Ledger
from liveweights.meter.ledger_proof import prove
from liveweights.meter.levies import BillingSettings, Levy
from liveweights.meter.reversals import reverse
from liveweights.meter.tenants import find_zone
from liveweights.record.binary import Row
from liveweights.record.forget import forget
from liveweights.record.generation import Generation
from liveweights.record.writer import Writer
from liveweights.store.database import Connection, Pool, open_pool

from .month import Month, add_month, make_answers, make_month, owed, totals

REQUESTS = 1500
KILLS = 6
MONTHS = ("2024-02", "2024-03", "2024-04")
SETTINGS = BillingSettings(levies=(Levy(name="VAT", rate=0.19),))


class FailingLedger(Ledger):
    """Now and then the database goes away when everything was booked, and before it is stored."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__()
        self._rng = rng

    async def __call__(
        self, conn: Connection, rows: Sequence[Row], /, *, again: bool
    ) -> Sequence[int]:
        costs = await super().__call__(conn, rows, again=again)
        if self._rng.random() < 0.1:
            raise psycopg.OperationalError("the connection broke")
        return costs


async def kill_writers(pool: Pool) -> None:
    async with pool.connection() as conn:
        await conn.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and query like '%ledger%'"
            " and pid <> pg_backend_pid()"
        )


async def write(pool: Pool, answers: list[Generation], rng: random.Random) -> None:
    """By two writers, some answers by both and some twice, with their connections cut."""
    pause = max(1, len(answers) // KILLS)
    options = {"linger": 0.0, "gather": 0.001, "batch_rows": 60}
    async with (
        Writer(pool, charge=FailingLedger(rng), **options) as one,
        Writer(pool, charge=FailingLedger(rng), **options) as two,
    ):
        for number, g in enumerate(answers):
            await rng.choice((one, two)).add_generation(g)
            if rng.random() < 0.05:
                await rng.choice((one, two)).add_generation(g)
            if number % pause == pause // 2:
                await kill_writers(pool)


async def booked(conn: Connection) -> dict[str, tuple[str, int, int]]:
    cursor = await conn.execute(
        "select id, currency, amount, cost from ledger where reverses is null"
    )
    return {id: (currency, amount, cost) for id, currency, amount, cost in await cursor.fetchall()}


async def invoiced(conn: Connection, month: Month) -> dict[tuple[str, str, str], int]:
    """Nanos by tenant, month and currency, of all invoices; each is closed."""
    sums: dict[tuple[str, str, str], int] = defaultdict(int)
    for tenant in month.tenants:
        zone = find_zone(month.zones[tenant])
        for name in MONTHS:
            billed = BilledMonth.parse(name, zone)
            draft = await read_invoice(conn, tenant, billed, SETTINGS)
            await conn.commit()
            closed = await close_invoice(conn, tenant, billed, SETTINGS)
            assert closed.statements == draft.statements
            for statement in closed.statements:
                assert statement.net == sum(line.amount for line in statement.lines)
                sums[tenant, name, statement.currency] += statement.net_nanos
    return {key: nanos for key, nanos in sums.items() if nanos}


def test_the_bill_is_what_the_tokens_and_the_prices_say(database_dsn: str) -> None:
    rng = random.Random(11)
    month = make_month(rng, 6)
    answers = list(make_answers(rng, month, REQUESTS))

    async def main() -> None:
        pool = await open_pool(database_dsn)
        async with pool.connection() as conn, conn.transaction():
            await add_month(conn, month)
        await write(pool, answers, rng)
        async with pool.connection() as conn:
            await conn.commit()
            truth = {g.id: owed(month, g) for g in answers}
            expected = {id: (o.currency, o.amount, o.cost) for id, o in truth.items()}
            assert await booked(conn) == expected  # 0 lost, 0 doubled, 0 wrong
            await conn.commit()
            proof = await prove(conn)
            assert (proof.holds, proof.entries) == (True, len(answers))
            assert proof.from_answers == len(answers)

            for user in ("ada", "bob"):  # takes what they asked away, and not what is owed
                for tenant in month.tenants[:2]:
                    await forget(conn, tenant, user)
            assert await booked(conn) == expected
            await conn.commit()
            assert await invoiced(conn, month) == totals(month, answers)

            back = [g for g in answers if truth[g.id].amount and rng.random() < 0.02]
            await reverse(conn, [g.id for g in back], "did not work")
            await check_corrections(conn, month, answers, back)
            proof = await prove(conn)
            assert (proof.holds, proof.reversals) == (True, len(back))
            assert proof.from_answers < proof.entries == len(answers)
        await pool.close()

    asyncio.run(main())


async def check_corrections(
    conn: Connection, month: Month, answers: list[Generation], back: list[Generation]
) -> None:
    """Closed months stay as they are; what is taken back is on the invoice of now."""
    again = await invoiced(conn, month)
    assert again == totals(month, answers)
    cursor = await conn.execute(
        "select currency, -sum(amount)::bigint from ledger where reverses is not null group by 1"
    )
    taken: dict[str, int] = defaultdict(int)
    for g in back:
        found = owed(month, g)
        taken[found.currency] += found.amount
    assert dict(await cursor.fetchall()) == taken
    cursor = await conn.execute(
        "select currency, sum(nanos)::bigint from postings group by 1 having sum(nanos) <> 0"
    )
    assert await cursor.fetchall() == []
    await conn.commit()


def test_what_is_booked_late_is_on_the_next_invoice(database_dsn: str) -> None:
    rng = random.Random(5)
    month = make_month(rng, 1)
    answers = [g for g in make_answers(rng, month, 200) if owed(month, g).currency != "XXX"]
    zone = find_zone(month.zones["tenant-0"])
    march, april = (BilledMonth.parse(name, zone) for name in ("2024-03", "2024-04"))
    early = [g for g in answers if g.created_at < march.since]
    in_march = [g for g in answers if march.since <= g.created_at < march.until]
    late, in_time = in_march[:20], in_march[20:]

    async def main() -> None:
        pool = await open_pool(database_dsn)
        async with pool.connection() as conn, conn.transaction():
            await add_month(conn, month)
        async with pool.connection() as conn:
            await conn.commit()
            await record(pool, [*early, *in_time])
            with pytest.raises(InvoiceError, match="close 2024-02 first"):
                await close_invoice(conn, "tenant-0", march, SETTINGS)
            february = BilledMonth.parse("2024-02", zone)
            await close_invoice(conn, "tenant-0", february, SETTINGS)
            closed = await close_invoice(conn, "tenant-0", march, SETTINGS)
            await record(pool, late)
            assert await read_invoice(conn, "tenant-0", march, SETTINGS) == closed
            await conn.commit()
            next_one = await read_invoice(conn, "tenant-0", april, SETTINGS)
            await conn.commit()
            assert nanos_of(closed) == sum(owed(month, g).amount for g in in_time)
            assert nanos_of(next_one) == sum(owed(month, g).amount for g in late)
            assert (await prove(conn)).holds
        await pool.close()

    asyncio.run(main())


async def record(pool: Pool, answers: list[Generation]) -> None:
    async with Writer(pool, charge=Ledger()) as writer:
        for g in answers:
            await writer.add_generation(g)


def nanos_of(invoice: object) -> int:
    return sum(one.net_nanos for one in invoice.statements)  # type: ignore[attr-defined]
