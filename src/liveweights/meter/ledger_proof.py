"""The proof of the ledger: every entry worked out again, from recorded tokens and price rows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, LiteralString, NamedTuple

from liveweights.meter.charges import assess
from liveweights.meter.invoice_rows import find_broken_invoices
from liveweights.meter.ledger_days import find_broken_days
from liveweights.meter.money import NO_CURRENCY
from liveweights.meter.price_book import PriceBook
from liveweights.meter.price_rows import read_book
from liveweights.meter.prices import PriceRow
from liveweights.store.database import Connection

PIECE = 2000
"""Rows that are held at once."""
SHOWN = 100
"""Differences that are named."""

_COUNTS: tuple[LiteralString, ...] = (
    *("prompt_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "requests"),
    "sent_tokens",
)
_ENTRY: tuple[LiteralString, ...] = (
    *("id", "at", "amount", "cost", "tenant", "model", "checkpoint", "key", "rule"),
    *("price", "cost_price", "currency", "cost_currency", "reverses", *_COUNTS),
)
_ANSWER: tuple[LiteralString, ...] = (
    *("created_at", "tenant", "model", "checkpoint", "key", "cost_nanos", *_COUNTS, "withheld"),
)
ENTRIES: LiteralString = f"""
select {", ".join(f"l.{name}" for name in _ENTRY)},
    {", ".join(f"a.{name}" for name in _ANSWER)}
from ledger l
left join counted_answers a on a.day = generation_day(l.id) and a.id = l.id
where l.reverses is null order by l.seq
"""
REVERSALS: LiteralString = f"""
select r.id
from ledger r left join ledger l on l.id = r.reverses and l.reverses is null
where r.reverses is not null and (
    -r.amount, -r.cost, r.tenant, r.model, r.checkpoint, r.key, r.rule, r.currency,
    r.cost_currency, {", ".join(f"-r.{name}" for name in _COUNTS[:-1])}
) is distinct from (
    l.amount, l.cost, l.tenant, l.model, l.checkpoint, l.key, l.rule, l.currency,
    l.cost_currency, {", ".join(f"l.{name}" for name in _COUNTS[:-1])}
)
"""
MISSING = """
select a.id from counted_answers a
where a.created_at >= (select min(closed_at) from ledger_days)
    and not exists (select from ledger l where l.id = a.id)
"""


class Counts(NamedTuple):
    prompt: int
    cached: int
    output: int
    reasoning: int
    requests: int
    sent: int | None


@dataclass(frozen=True, slots=True)
class Difference:
    """An entry that says something else than what was worked out, by name: (said, worked out)."""

    id: str
    values: Mapping[str, tuple[object, object]]


@dataclass(slots=True)
class Proof:
    """``entries`` were worked out again: ``from_answers`` from the answer as it is recorded, the
    others from the counts that they hold themselves, because the answer is archived or forgotten.
    ``differences`` are the first so many of ``wrong``; ``broken_days`` are not what was sealed,
    ``broken_invoices`` are closed and not what the ledger says."""

    entries: int = 0
    from_answers: int = 0
    reversals: int = 0
    wrong: int = 0
    differences: list[Difference] = field(default_factory=list[Difference])
    missing: list[str] = field(default_factory=list[str])
    broken_days: list[date] = field(default_factory=list[date])
    broken_invoices: list[int] = field(default_factory=list[int])

    @property
    def holds(self) -> bool:
        return not (self.wrong or self.missing or self.broken_days or self.broken_invoices)

    def add(self, difference: Difference) -> None:
        self.wrong += 1
        if len(self.differences) < SHOWN:
            self.differences.append(difference)


async def prove(conn: Connection) -> Proof:
    """Work out every entry again, look for answers without one, and check the sealed days; all of
    it as the database is at one moment. ``conn`` is outside any transaction."""
    proof = Proof()
    async with conn.transaction():
        await conn.execute("set transaction isolation level repeatable read, read only")
        book = await read_book(conn)
        async for row in _stream(conn, ENTRIES):
            _check(book, row, proof)
        async for (id,) in _stream(conn, REVERSALS):
            proof.add(Difference(id, {"reverses": ("other numbers", "those of an entry, negated")}))
        cursor = await conn.execute("select count(*) from ledger where reverses is not null")
        proof.reversals = (await cursor.fetchall())[0][0]
        async for (id,) in _stream(conn, MISSING):
            proof.missing.append(id)
        proof.broken_days = await find_broken_days(conn)
        proof.broken_invoices = await find_broken_invoices(conn)
    return proof


async def _stream(conn: Connection, query: LiteralString) -> AsyncIterator[tuple[Any, ...]]:
    async with conn.cursor(name="proof") as cursor:
        cursor.itersize = PIECE
        await cursor.execute(query)
        async for row in cursor:
            yield row


def _check(book: PriceBook, row: tuple[Any, ...], proof: Proof) -> None:
    said: dict[str, Any] = dict(zip(_ENTRY, row[: len(_ENTRY)], strict=True))
    answer: dict[str, Any] = dict(zip(_ANSWER, row[len(_ENTRY) :], strict=True))
    recorded = answer["created_at"] is not None
    proof.entries += 1
    proof.from_answers += recorded
    values = _work_out(book, said, answer if recorded else None)
    wrong = {name: (said[name], value) for name, value in values.items() if said[name] != value}
    if recorded and answer["cost_nanos"] != said["amount"]:
        wrong["the answer's cost"] = (answer["cost_nanos"], said["amount"])
    if wrong:
        proof.add(Difference(said["id"], wrong))


def _work_out(
    book: PriceBook, said: Mapping[str, Any], answer: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What the entry should say."""
    source = said if answer is None else answer
    at: datetime = said["at"] if answer is None else answer["created_at"]
    # Where a checkpoint was asked for by its id, the entry alone says which model that was of.
    model = said["model"] if source["model"] == source["checkpoint"] else source["model"]
    held = book.find(source["tenant"], model, at)
    values: dict[str, Any] = {name: source[name] for name in _COUNTS}
    values |= {name: source[name] for name in ("tenant", "checkpoint", "key")}
    values |= {"model": model, "at": at}
    values |= {"price": _id(held.price), "cost_price": _id(held.cost)}
    values |= {"currency": _currency(held.price), "cost_currency": _currency(held.cost)}
    if said["rule"] == "imported":
        return values | {"amount": 0, "cost": 0}
    withheld = said["rule"] == "withheld" if answer is None else answer["withheld"]
    counts = Counts(*(source[name] for name in _COUNTS))
    charged = assess(held, counts, withheld=withheld)
    return values | {"rule": charged.rule, "amount": charged.amount, "cost": charged.cost}


def _id(price: PriceRow | None) -> int | None:
    return None if price is None else price.id


def _currency(price: PriceRow | None) -> str:
    return NO_CURRENCY if price is None else price.currency
