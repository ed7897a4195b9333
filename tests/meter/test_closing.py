"""Months that are closed while answers are booked late, taken back, and the tenant moves to another
time zone: every entry is on one invoice, and no invoice changes once it is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Literal
from zoneinfo import ZoneInfo

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.meter.test_ledger import PRICE, add, record, run
from tests.record.rows import make_generation

from liveweights.meter.invoice import Invoice, Month
from liveweights.meter.invoice_rows import close_invoice, read_invoice
from liveweights.meter.ledger import Ledger
from liveweights.meter.ledger_proof import prove
from liveweights.meter.levies import BillingSettings
from liveweights.meter.reversals import reverse
from liveweights.record.writer import Writer
from liveweights.store.database import Connection, Pool, open_pool

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Pacific/Kiritimati", "Pacific/Pago_Pago")
EDGES = [
    datetime(2024, month, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    for month in range(2, 7)
    for zone in ZONES
]
SETTINGS = BillingSettings()
_numbers = count()

moments = st.builds(
    lambda edge, off: edge + off,
    st.sampled_from(EDGES),
    st.sampled_from([timedelta(microseconds=n) for n in (-1, 0, 1)] + [timedelta(days=9)]),
)
steps = st.one_of(
    st.tuples(st.just("book"), moments, st.integers(1, 10**6)),
    st.tuples(st.just("close"), st.just(None), st.just(0)),
    st.tuples(st.just("refund"), st.just(None), st.integers(0, 100)),
    st.tuples(st.just("move"), st.sampled_from(ZONES), st.just(0)),
)
Step = tuple[Literal["book", "close", "refund", "move"], datetime | str | None, int]


@dataclass
class Truth:
    """What was booked and where it is billed, by hand: an entry goes on the first month that is
    closed after it was booked, and ends after its time."""

    tenant: str
    zone: str = "UTC"
    month: int = 1
    """The next one of 2024 to be closed."""
    open: dict[str, tuple[datetime, int]] = field(default_factory=dict[str, tuple[datetime, int]])
    amounts: dict[str, int] = field(default_factory=dict[str, int])
    refunded: list[str] = field(default_factory=list[str])
    billed: list[tuple[Month, int]] = field(default_factory=list[tuple[Month, int]])

    def close(self) -> Month:
        ends = datetime(2024, self.month + 1, 1, tzinfo=ZoneInfo(self.zone))
        due = [id for id, (at, _) in self.open.items() if at < ends]
        month = Month.parse(f"2024-{self.month:02d}", ZoneInfo(self.zone))
        self.billed.append((month, sum(self.open.pop(id)[1] for id in due)))
        self.month += 1
        return month


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(steps, max_size=14))
def check(dsn: str, plan: Sequence[Step]) -> None:
    asyncio.run(act(dsn, plan))


def test_every_entry_is_on_one_invoice(database_dsn: str) -> None:
    add(database_dsn, PRICE)
    check(database_dsn)


def test_what_was_never_charged_keeps_no_month_open(database_dsn: str) -> None:
    """Answers of before there were prices, and imported logs."""
    add(database_dsn, replace(PRICE, since=datetime(2024, 5, 1, tzinfo=UTC)))
    ages = {"free": datetime(2022, 1, 1, tzinfo=UTC), "sold": datetime(2024, 5, 2, tzinfo=UTC)}
    for ledger, named in ((Ledger(), ""), (Ledger(imported=True), "old-")):
        answers = [
            make_generation(named + id, tenant="acme", created_at=at) for id, at in ages.items()
        ]
        record(database_dsn, *answers, ledger=ledger)

    async def close(conn: Connection) -> None:
        await conn.set_autocommit(True)
        may = await close_invoice(conn, "acme", Month.parse("2024-05", ZoneInfo("UTC")), SETTINGS)
        assert nanos_of(may) > 0
        later = await close_invoice(conn, "acme", Month.parse("2024-06", ZoneInfo("UTC")), SETTINGS)
        assert nanos_of(later) == 0

    run(database_dsn, close)


async def act(dsn: str, plan: Sequence[Step]) -> None:
    truth = Truth(f"tenant-{next(_numbers)}")
    pool = await open_pool(dsn)
    try:
        for step in plan:
            await take(pool, truth, step)
        async with pool.connection() as conn:
            await conn.commit()
            await check_bills(conn, truth)
    finally:
        await pool.close()


async def take(pool: Pool, truth: Truth, step: Step) -> None:
    what, given, number = step
    if what == "move":
        truth.zone = str(given)
    elif what == "book":
        assert isinstance(given, datetime)
        id = f"{truth.tenant}-{next(_numbers)}"
        amount = 500 * number + 2000
        usage = {"prompt_tokens": number, "completion_tokens": 1}
        made = make_generation(id, created_at=given, tenant=truth.tenant, usage=usage)
        async with Writer(pool, charge=Ledger()) as writer:
            await writer.add_generation(made)
        truth.open[id], truth.amounts[id] = (given, amount), amount
    elif what == "refund":
        left = sorted(truth.amounts.keys() - set(truth.refunded))
        if left:
            id = left[number % len(left)]
            async with pool.connection() as conn:
                await reverse(conn, [id], "did not work")
            truth.refunded.append(id)
            # It is booked now, which is in a month that is not closed here.
            truth.open[f"rev_{id}"] = datetime.now(UTC), -truth.amounts[id]
    elif truth.month < 7:
        async with pool.connection() as conn:
            await conn.commit()
            await close_invoice(conn, truth.tenant, truth.close(), SETTINGS)


async def check_bills(conn: Connection, truth: Truth) -> None:
    for month, amount in truth.billed:
        invoice = await read_invoice(conn, truth.tenant, month, SETTINGS)
        await conn.commit()
        assert invoice.number is not None
        assert nanos_of(invoice) == amount
    last = datetime.now(UTC) + timedelta(days=1)
    month = Month.parse(f"2024-{truth.month:02d}", ZoneInfo(truth.zone))
    still_open = 0
    while month.since <= last:
        still_open += nanos_of(await read_invoice(conn, truth.tenant, month, SETTINGS))
        await conn.commit()
        month = month.next
    assert still_open == sum(amount for _, amount in truth.open.values())
    cursor = await conn.execute(
        "select coalesce(sum(amount), 0)::bigint from ledger where tenant = %s", (truth.tenant,)
    )
    refunds = sum(truth.amounts[id] for id in truth.refunded)
    assert await cursor.fetchall() == [(sum(truth.amounts.values()) - refunds,)]
    await conn.commit()
    assert (await prove(conn)).holds


def nanos_of(invoice: Invoice) -> int:
    return sum(statement.net_nanos for statement in invoice.statements)
