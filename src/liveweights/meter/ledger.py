"""The ledger: one entry per answer, written in the transaction that stores the answer.

The format is that of binary COPY, see https://www.postgresql.org/docs/current/sql-copy.html.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, LiteralString, Protocol, cast

from liveweights.meter.charges import Charged, Counted, assess
from liveweights.meter.money import NO_CURRENCY
from liveweights.meter.price_book import Held, PriceBook
from liveweights.meter.price_rows import VERSION, read_book
from liveweights.store.database import Connection

COLUMNS: tuple[LiteralString, ...] = (
    *("id", "at", "amount", "cost"),
    *("prompt_tokens", "cached_tokens", "output_tokens", "reasoning_tokens", "requests"),
    *("sent_tokens", "tenant", "model", "checkpoint", "key", "rule", "price", "cost_price"),
    *("currency", "cost_currency", "day"),
)
"""The columns of an encoded entry, in order."""

# The day of booking is taken once the table is held: whoever closes a day waits for it.
BEGIN: LiteralString = f"""
lock table ledger in row exclusive mode;
select (clock_timestamp() at time zone 'UTC')::date, {VERSION}
"""
BOOKED = "select id, amount from ledger where id = any(%s)"
SOLD = """
select a.id, w.alias
from ancestry a cross join lateral (
    select w.alias from swaps w join ancestry s on s.id = w.checkpoint
    where w.tenant is null and s.root = a.root
    order by w.checkpoint = a.id desc, w.at desc limit 1
) w where a.id = any(%s)
"""
"""The public names of the models that checkpoints are of: first those they are released under."""

_COPY: LiteralString = f"copy ledger ({', '.join(COLUMNS)}) from stdin (format binary)"
_SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_HEAD = struct.Struct(">h").pack(len(COLUMNS))
_NULL = b"\xff\xff\xff\xff"
_INT8 = struct.Struct(">iq").pack
_DAY = struct.Struct(">ii").pack
_NUMBERS = struct.Struct(">" + 8 * "iq").pack
_EPOCH_DAY = date(2000, 1, 1)


class Answer(Protocol):
    """An answer as the record has it. ``created`` is when it was asked for, in microseconds since
    2000; ``group`` is a number, model, checkpoint, tenant and where it was shown."""

    @property
    def id(self) -> str: ...
    @property
    def created(self) -> int: ...
    @property
    def group(self) -> tuple[int, str, str, str, str]: ...
    @property
    def key(self) -> str: ...
    @property
    def withheld(self) -> bool: ...
    @property
    def counts(self) -> Counted: ...


@dataclass(frozen=True, slots=True)
class _Moment:
    """What a transaction begins with."""

    day: date
    version: tuple[int, int]


class Ledger:
    """Charges answers and books them, as a writer's ``charge``. The prices are those that hold when
    the transaction begins."""

    def __init__(self, *, imported: bool = False) -> None:
        """``imported``: the answers were given by somebody else before; nothing is charged."""
        self._imported = imported
        self._book = PriceBook()
        self._version = -1, -1
        self._sold = dict[str, str]()
        """Checkpoints that were asked for by their id, and the public names of their models."""

    async def __call__(
        self, conn: Connection, rows: Sequence[Answer], /, *, again: bool
    ) -> Sequence[int]:
        """What each is charged, in nanos, once all are booked in the caller's transaction; those
        that are booked ``again`` stay as they are."""
        moment = await self._begin(conn)
        if moment.version != self._version:
            self._book, self._version = await read_book(conn), moment.version
        await self._find_sold(conn, rows)
        charged = [self._assess(row) for row in rows]
        booked = dict[str, int]()
        if again:
            cursor = await conn.execute(BOOKED, ([row.id for row in rows],))
            booked = dict(cast(list[tuple[str, int]], await cursor.fetchall()))
        new = [pair for pair in zip(rows, charged, strict=True) if pair[0].id not in booked]
        if new:
            async with conn.cursor() as cursor, cursor.copy(_COPY) as copy:
                await copy.write(self._encode(new, moment.day))
        if not booked:
            return [one.amount for one in charged]
        return [booked.get(row.id, one.amount) for row, one in zip(rows, charged, strict=True)]

    async def _begin(self, conn: Connection) -> _Moment:
        cursor = await conn.execute(BEGIN, prepare=False)
        cursor.nextset()
        day, prices, plans = cast(tuple[Any, ...], await cursor.fetchone())
        return _Moment(day, (prices, plans))

    async def _find_sold(self, conn: Connection, rows: Sequence[Answer]) -> None:
        """What is asked for by a checkpoint's id is recorded so, and sold as its model."""
        asked = {row.group[1] for row in rows if row.group[1] == row.group[2]}
        if asked and not self._imported:
            cursor = await conn.execute(SOLD, (list(asked),))
            self._sold.update(cast(list[tuple[str, str]], await cursor.fetchall()))

    def _model(self, row: Answer) -> str:
        return self._sold.get(row.group[1], row.group[1])

    def _held(self, row: Answer) -> Held:
        return self._book.timeline(row.group[3], self._model(row)).at(row.created)

    def _assess(self, row: Answer) -> Charged:
        if self._imported:
            return _IMPORTED
        return assess(self._held(row), row.counts, withheld=row.withheld)

    def _encode(self, charged: Sequence[tuple[Answer, Charged]], day: date) -> bytes:
        booking = _DAY(4, (day - _EPOCH_DAY).days)
        parts = [_SIGNATURE]
        for row, (rule, amount, cost) in charged:
            counts, group = row.counts, row.group
            held = self._held(row)
            parts += (
                _HEAD,
                _text(row.id),
                _NUMBERS(
                    *(8, row.created, 8, amount, 8, cost),
                    *(8, counts.prompt, 8, counts.cached, 8, counts.output),
                    *(8, counts.reasoning, 8, counts.requests),
                ),
                _NULL if counts.sent is None else _INT8(8, counts.sent),
                _constant(group[3], self._model(row), group[2], row.key, rule),
                _priced(held),
                booking,
            )
        parts.append(_TRAILER)
        return b"".join(parts)


_IMPORTED = Charged("imported", 0, 0)


def _text(text: str) -> bytes:
    content = text.encode()
    return len(content).to_bytes(4, "big") + content


@lru_cache(maxsize=4096)
def _constant(*texts: str) -> bytes:
    return b"".join(map(_text, texts))


@lru_cache(maxsize=4096)
def _priced(held: Held) -> bytes:
    prices = held.price, held.cost
    numbers = [_NULL if price is None else _INT8(8, price.id) for price in prices]
    money = [_text(NO_CURRENCY if price is None else price.currency) for price in prices]
    return b"".join((*numbers, *money))
