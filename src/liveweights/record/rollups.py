"""Counts per time and series, kept in step with the rows that they count.

A *series* is a combination of alias, checkpoint, tenant and surface, or the whole of an alias and
checkpoint over all of these. A batch gathers what it adds
in temporary tables, in 5-minute buckets, and adds them to all widths at its end: in one order
for everybody, so that writers wait for each other and never in a circle.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import LiteralString

from liveweights.store.database import Connection

WIDTHS = (5, 60, 1440)
"""Minutes per bucket."""

COUNTS: tuple[LiteralString, ...] = (
    *("generations", "silent", "cancelled", "failed"),
    *("prompt_tokens", "output_tokens", "cost_nanos"),
    *("feedback", "reacted", "silent_reacted", "accepted", "rejected"),
    *("value_micros", "accepted_micros", "rejected_micros"),
)
"""What is counted; the table ``rollups`` says what each is."""

_NAMES: LiteralString = ", ".join(COUNTS)
_SUMS: LiteralString = ", ".join(f"sum({name})::bigint" for name in COUNTS)
_ADDED: LiteralString = ", ".join(f"{name} = r.{name} + excluded.{name}" for name in COUNTS)
_WIDENED: LiteralString = """
cross join (values (5), (60), (1440)) widths (width)
cross join (values (false), (true)) kinds (whole)
"""
_PLACE: LiteralString = """
whole, width, date_bin(make_interval(mins => width), at, 'epoch') as bucket,
    case when whole then s.whole_id else s.id end as series
"""

STAGE: LiteralString = f"""
create temp table if not exists staged_rollups (
    at timestamptz not null, series int not null,
    {", ".join(f"{name} bigint not null default 0" for name in COUNTS)}
) on commit delete rows;
create temp table if not exists staged_histograms (
    at timestamptz not null, series int not null,
    measure measure not null, bin smallint not null, count bigint not null
) on commit delete rows
"""


def stage_outcomes(generations: LiteralString) -> LiteralString:
    """A statement that adds (``%(sign)s`` 1) or takes away (-1) what feedback says of these
    generations, an SQL array, at this moment. ``%(days)s`` are theirs."""
    return f"""
insert into staged_rollups (at, series, feedback, reacted, silent_reacted, accepted, rejected,
    value_micros, accepted_micros, rejected_micros)
select date_bin('5 minutes', generated_at, 'epoch'), series,
    %(sign)s * sum(feedback), %(sign)s * count(decided_by),
    %(sign)s * count(decided_by) filter (where silent),
    %(sign)s * count(*) filter (where accepted), %(sign)s * count(*) filter (where rejected),
    %(sign)s * sum(value_micros), %(sign)s * sum(accepted_micros),
    %(sign)s * sum(rejected_micros)
from outcomes
where day = any(%(days)s) and generation = any({generations}) and series is not null
group by 1, 2
"""


ADD: tuple[LiteralString, LiteralString] = (
    f"""
insert into rollups as r (whole, width, bucket, series, {_NAMES})
select {_PLACE}, {_SUMS}
from staged_rollups st join series s on s.id = st.series {_WIDENED}
group by 1, 2, 3, 4 order by 1, 2, 3, 4
on conflict (whole, width, bucket, series) do update set {_ADDED}
""",
    f"""
insert into rollup_histograms as r (whole, width, bucket, series, measure, bin, count)
select {_PLACE}, measure, bin, sum(count)::bigint
from staged_histograms st join series s on s.id = st.series {_WIDENED}
group by 1, 2, 3, 4, 5, 6 order by 1, 2, 3, 4, 5, 6
on conflict (whole, width, bucket, series, measure, bin)
    do update set count = r.count + excluded.count
""",
)


async def add_staged(conn: Connection) -> None:
    """The end of a batch: what was staged goes into the rollups, with the caller's commit."""
    for statement in ADD:
        await conn.execute(statement)


@dataclass(frozen=True, slots=True)
class Difference:
    """A bucket whose rollup is not what the raw rows say; counts by name, where they differ."""

    table: str
    whole: bool
    width: int
    bucket: datetime
    series: int
    rollup: dict[str, int]
    raw: dict[str, int]


FOREVER = (datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))


async def oldest(conn: Connection) -> datetime | None:
    """The first UTC midnight from which on all raw rows are there; None without any rows."""
    cursor = await conn.execute(
        "select greatest(min(date_bin('1 day', created_at, 'epoch')),"
        " (select (max(day) + 1)::timestamp at time zone 'UTC' from archives"
        "  where restored_at is null)) from generations having count(*) > 0"
    )
    row = await cursor.fetchone()
    return row[0] if row else None


async def rebuild(
    conn: Connection, since: datetime = FOREVER[0], until: datetime = FOREVER[1]
) -> None:
    """Count anew from the raw rows, in the caller's transaction; writers wait meanwhile.

    Both times fall on a UTC midnight. Raises psycopg.errors.RaiseException where rows of the time
    are archived.
    """
    await conn.execute("call rebuild_rollups(%s, %s)", (since, until))


DIFFERENT: LiteralString = f"""
with kept as (
    select * from rollups where bucket >= %(since)s and bucket < %(until)s
        and ({" or ".join(f"{name} <> 0" for name in COUNTS)})
), meant as (
    select * from rollups_of(%(since)s, %(until)s)
)
select 'kept', * from (select * from kept except select * from meant) more
union all
select 'meant', * from (select * from meant except select * from kept) less
"""

DIFFERENT_HISTOGRAMS = """
with kept as (
    select * from rollup_histograms
    where bucket >= %(since)s and bucket < %(until)s and count <> 0
), meant as (
    select * from histograms_of(%(since)s, %(until)s)
)
select 'kept', whole, width, bucket, series, measure::text, bin, count
from (select * from kept except select * from meant) more
union all
select 'meant', whole, width, bucket, series, measure::text, bin, count
from (select * from meant except select * from kept) less
"""


async def differences(
    conn: Connection, since: datetime = FOREVER[0], until: datetime = FOREVER[1]
) -> list[Difference]:
    """Where the rollups are not what the raw rows of that time add up to; none is as it should be.

    Writers need not stop: each of the two comparisons is one statement, which sees whole
    transactions only. Both times fall on a UTC midnight.
    """
    window = {"since": since, "until": until}
    buckets: dict[tuple[str, bool, int, datetime, int], dict[str, dict[str, int]]] = {}
    async for side, whole, width, bucket, series, *counts in await conn.execute(DIFFERENT, window):
        sides = buckets.setdefault(("rollups", whole, width, bucket, series), {})
        sides[side] = dict(zip(COUNTS, counts, strict=True))
    histograms = await conn.execute(DIFFERENT_HISTOGRAMS, window)
    async for side, whole, width, bucket, series, measure, bin, count in histograms:
        sides = buckets.setdefault(("rollup_histograms", whole, width, bucket, series), {})
        sides.setdefault(side, {})[f"{measure}/{bin}"] = count
    return [
        Difference(*place, sides.get("kept", {}), sides.get("meant", {}))
        for place, sides in sorted(buckets.items())
    ]
