"""The processes of the month in ``ledger.py``: ``python bench/_month.py ROLE FOLDER PLAN``.

Each can be killed at any moment and started again: it goes on after the last block of requests that
it had finished, and what it had begun it does once more.
"""

from __future__ import annotations

import asyncio
import logging
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from pathlib import Path

import msgspec
import psycopg

from liveweights.meter.invoice import Month as BilledMonth
from liveweights.meter.invoice_rows import close_invoice, read_invoice
from liveweights.meter.ledger import Ledger
from liveweights.meter.levies import BillingSettings
from liveweights.meter.reversals import reverse
from liveweights.meter.tenants import find_zone
from liveweights.record.generation import Generation
from liveweights.record.spill import Spill
from liveweights.record.writer import Writer
from liveweights.store.database import Connection, open_pool

sys.path.append(str(Path(__file__).parents[1]))
from tests.meter.month import Month, add_month, make_answers, make_month, owed

WRITERS = 2
MONTHS = ("2024-02", "2024-03", "2024-04")
SEED = 20241
AGAIN = 0.03
"""Of the answers are handed to the record twice."""
ECHO = 50
"""Answers of another writer's block that are handed to this one, too."""
EVERY_REFUNDED = 61
"""Of so many answers one is refunded."""
REASON = "the customer complained"

Sums = list[tuple[str, str, str, int]]
"""Tenant, month, currency, billionths of it."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """``blocks`` of ``size`` requests each, dealt to the writers in turn."""

    dsn: str
    tenants: int
    blocks: int
    size: int


class Checked(msgspec.Struct, frozen=True, kw_only=True):
    """What the oracle says about a writer's blocks, and how far the ledger is from it."""

    answers: int
    lost: int
    wrong: int
    refunds: int
    unrefunded: int
    owed: Sums
    refunded: Sums


def month_of(plan: Plan) -> Month:
    return make_month(random.Random(SEED), plan.tenants)


async def add_prices(plan: Plan) -> None:
    """And plans, those of the whole time."""
    async with await psycopg.AsyncConnection.connect(plan.dsn) as conn:
        await add_month(conn, month_of(plan))


def block_of(month: Month, plan: Plan, block: int) -> list[Generation]:
    """The same answers each time."""
    rng = random.Random(f"{SEED} {block}")
    return list(make_answers(rng, month, plan.size, first=block * plan.size))


def read_done(folder: Path) -> int:
    """Blocks, or tenants, that the process of this folder is through with."""
    done = folder / "done"
    return int(done.read_text()) if done.exists() else 0


def _tell_done(folder: Path, count: int) -> None:
    draft = folder / "done.new"
    draft.write_text(str(count))
    draft.rename(folder / "done")


async def write(folder: Path, plan: Plan, number: int) -> None:
    """Record a writer's blocks; some answers twice, and some that another one records, too."""
    month, rng = month_of(plan), random.Random()
    pool = await open_pool(plan.dsn)
    async with Writer(pool, charge=Ledger(), spill=Spill(folder / "spill")) as writer:
        mine = range(number, plan.blocks, WRITERS)
        for position in range(read_done(folder), len(mine)):
            answers = block_of(month, plan, mine[position])
            if position % 8 == 7:
                other = (mine[position] + 1) % plan.blocks
                answers = block_of(month, plan, other)[:ECHO] + answers
            for g in answers:
                await writer.add_generation(g)
                if rng.random() < AGAIN:
                    await writer.add_generation(g)
            await writer.flush()
            _tell_done(folder, position + 1)
    await pool.close()


async def refund(folder: Path, plan: Plan) -> None:
    """Take back what some answers were charged, while others are recorded; until none is left."""
    async with await psycopg.AsyncConnection.connect(plan.dsn) as conn:
        for block in range(read_done(folder), plan.blocks):
            writer = folder.with_name(f"writer-{block % WRITERS}")
            while read_done(writer) <= block // WRITERS:
                await asyncio.sleep(0.2)
            ids = [id for id in _ids(plan, block) if _is_refunded(id)]
            cursor = await conn.execute(
                "select id from ledger l where id = any(%s) and not exists"
                " (select from ledger r where r.id = 'rev_' || l.id)",
                ([f"{id}.{index}" for id in ids for index in range(4)],),
            )
            open_ones = [id for (id,) in await cursor.fetchall()]
            await conn.commit()
            if open_ones:
                await reverse(conn, open_ones, REASON)
            _tell_done(folder, block + 1)


def _ids(plan: Plan, block: int) -> Iterable[str]:
    """Of a block's requests; each answer's has its number behind a dot."""
    return (f"answer-{n}" for n in range(block * plan.size, (block + 1) * plan.size))


def _is_refunded(id: str) -> bool:
    return int(id.removeprefix("answer-").partition(".")[0]) % EVERY_REFUNDED == 7


async def bill(folder: Path, plan: Plan) -> None:
    """Close every month of every tenant, in order."""
    month = month_of(plan)
    async with await psycopg.AsyncConnection.connect(plan.dsn, autocommit=True) as conn:
        for position in range(read_done(folder), len(month.tenants)):
            tenant = month.tenants[position]
            for name in MONTHS:
                billed = BilledMonth.parse(name, find_zone(month.zones[tenant]))
                await close_invoice(conn, tenant, billed, BillingSettings())
            _tell_done(folder, position + 1)


async def check(folder: Path, plan: Plan, number: int) -> None:
    """Work out what a writer's answers cost, by the oracle, and look for each in the ledger."""
    month = month_of(plan)
    totals: dict[tuple[str, str, str], int] = defaultdict(int)
    taken: dict[tuple[str, str, str], int] = defaultdict(int)
    answers = lost = wrong = refunds = unrefunded = 0
    mine = range(number, plan.blocks, WRITERS)
    async with await psycopg.AsyncConnection.connect(plan.dsn, autocommit=True) as conn:
        for position, block in enumerate(mine):
            these = block_of(month, plan, block)
            booked = await _read_booked(conn, [g.id for g in these])
            back = await _read_booked(conn, [f"rev_{g.id}" for g in these])
            answers += len(these)
            for g in these:
                truth = owed(month, g)
                entry = booked.get(g.id)
                lost += entry is None
                wrong += entry not in (None, (truth.currency, truth.amount, truth.cost))
                totals[g.tenant, month.name_month(g), truth.currency] += truth.amount
                if _is_refunded(g.id):
                    refunds += 1
                    taken[g.tenant, "", truth.currency] -= truth.amount
                    unrefunded += back.get(f"rev_{g.id}") != (
                        *(truth.currency, -truth.amount, -truth.cost),
                    )
            _tell_done(folder, position + 1)
    checked = Checked(
        answers=answers,
        lost=lost,
        wrong=wrong,
        refunds=refunds,
        unrefunded=unrefunded,
        owed=_listed(totals),
        refunded=_listed(taken),
    )
    (folder / "checked.json").write_bytes(msgspec.json.encode(checked))


async def _read_booked(conn: Connection, ids: list[str]) -> dict[str, tuple[str, int, int]]:
    cursor = await conn.execute(
        "select id, currency, amount, cost from ledger where id = any(%s)", (ids,)
    )
    return {id: (currency, amount, cost) for id, currency, amount, cost in await cursor.fetchall()}


def _listed(sums: dict[tuple[str, str, str], int]) -> Sums:
    return [(*key, nanos) for key, nanos in sorted(sums.items()) if nanos]


async def read_invoiced(conn: Connection, plan: Plan, now: Iterable[datetime]) -> tuple[Sums, Sums]:
    """What all closed invoices say, and what those of the months of ``now`` would: refunds are
    taken back on the invoice of the month in which they are made."""
    month = month_of(plan)
    closed: dict[tuple[str, str, str], int] = defaultdict(int)
    drawn: dict[tuple[str, str, str], int] = defaultdict(int)
    for tenant in month.tenants:
        zone = find_zone(month.zones[tenant])
        current = sorted({f"{when.astimezone(zone):%Y-%m}" for when in now})
        for name in (*MONTHS, *current):
            invoice = await read_invoice(
                conn, tenant, BilledMonth.parse(name, zone), BillingSettings()
            )
            for one in invoice.statements:
                if name in MONTHS:
                    assert invoice.number is not None, f"{name} of {tenant} is not closed"
                    closed[tenant, name, one.currency] += one.net_nanos
                else:
                    drawn[tenant, "", one.currency] += one.net_nanos
    return _listed(closed), _listed(drawn)


def main() -> None:
    role, place, text = sys.argv[1:]
    folder, plan = Path(place), msgspec.json.decode(text, type=Plan)
    logging.disable(logging.ERROR)  # connections that break are the point here
    kind, _, number = role.partition("-")
    roles: dict[str, Callable[[], object]] = {
        "refunder": partial(refund, folder, plan),
        "biller": partial(bill, folder, plan),
        "writer": partial(write, folder, plan, int(number or 0)),
        "checker": partial(check, folder, plan, int(number or 0)),
    }
    asyncio.run(roles[kind]())  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
