"""One batch of rows in one transaction, however often it is tried."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from enum import Enum, auto
from typing import Any, LiteralString, Protocol

import msgspec

from liveweights.record import active_users, rollups, tally
from liveweights.record.binary import STORED, Row, complete
from liveweights.record.columns import FEEDBACK, feedback_row
from liveweights.record.feedback import Feedback
from liveweights.record.forget import LATE, oldest, remove_late
from liveweights.record.holds import hold_staged
from liveweights.store.columnstore import has_columnstore, lift_limit
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of

_STORED: LiteralString = ", ".join(STORED)

STAGE: LiteralString = f"""
create temp table if not exists staged_feedback (
    position int not null, day date not null, survived float8,
    tenant text, id text, generation text, signal text,
    value float8, text text, received_at timestamptz, episode text, surplus boolean not null
) on commit delete rows;
{rollups.STAGE};
{tally.STAGE}
"""

FIND = "select id from generations where day = any(%(days)s) and id = any(%(ids)s)"

STAGE_FEEDBACK = """
insert into staged_feedback
select * from json_to_recordset(%(rows)s::json) rows (
    position int, day date, survived float8,
    tenant text, id text, generation text, signal text,
    value float8, text text, received_at timestamptz, episode text, surplus boolean
)
"""

# Feedback is only taken for a generation of the same tenant.
KNOWN = """
select s.position, g.tenant = s.tenant
from staged_feedback s
join generations g on g.day = s.day and g.id = s.generation
where g.day = any(%(days)s)
order by g.day, g.id
"""

# The lock keeps the generation, and lets one writer at a time say what all its feedback amounts
# to.
LOCK: LiteralString = f"{KNOWN} for no key update of g"

# Numbered as they arrived; of a repeated id the first counts.
INSERT_FEEDBACK = """
with known as materialized (
    select arrived.*, nextval('feedback_seq') as seq
    from (
        select s.*, g.created_at as generated_at, g.user_id,
            g.created_at + least(g.total_ms, 86400000) * interval '1 millisecond' as completed_at,
            g.output = '' and g.finish_reason not in ('cancelled', 'error') as silent,
            series.id as series
        from staged_feedback s
        join generations g
            on g.day = s.day and g.id = s.generation and g.tenant = s.tenant
        join series on (series.alias, series.checkpoint, series.tenant, series.surface)
            = (g.alias, g.checkpoint, g.tenant, g.surface)
        where g.day = any(%(days)s) and not s.surplus
        order by s.position
    ) arrived
), keys as (
    insert into feedback_keys (tenant, id, seq, generation, received_at, day)
    select distinct on (tenant, id) tenant, id, seq, generation, received_at, day
    from known order by tenant, id, position
    on conflict (tenant, id) do nothing
    returning seq
), inserted as (
    insert into feedback (seq, tenant, id, generation, signal, value, text, received_at, day,
        generated_at, completed_at, series, user_id, silent, survived, episode)
    select seq, tenant, id, generation, signal, value, text, received_at, day,
        generated_at, completed_at, series, user_id, silent, survived, episode
    from known where seq in (select seq from keys) order by seq
    returning tenant, id, generated_at, completed_at, series, received_at
), delays as (
    insert into staged_histograms (at, series, measure, bin, count)
    select date_bin('5 minutes', generated_at, 'epoch'), series, 'delay',
        histogram_bin(1000 * extract(epoch from received_at - completed_at)::float8), count(*)
    from inserted group by 1, 2, 4
)
select tenant, id from inserted
"""

COMPARE = """
select s.position,
       f.seq is not null as present,
       (f.generation, f.signal, f.value, f.text, f.episode)
           is not distinct from (s.generation, s.signal, s.value, s.text, s.episode) as same,
       f.received_at = s.received_at as simultaneous,
       s.surplus
from staged_feedback s
left join feedback_keys k on k.tenant = s.tenant and k.id = s.id
left join feedback f on f.day = k.day and f.generation = k.generation and f.seq = k.seq
"""


STAGE_OUTCOMES: LiteralString = rollups.stage_outcomes("%(generations)s")


class Charge(Protocol):
    """Books what generations cost."""

    async def __call__(
        self, conn: Connection, rows: Sequence[Row], /, *, again: bool
    ) -> Sequence[int]:
        """What each of ``rows`` is charged, in nanos.

        Awaited in the transaction that stores them, once for each that is stored: what it writes
        is there if they are, and nowhere else. ``again`` says that some may be booked already, of
        generations that are gone since. What it raises is treated as if Postgres had raised it
        about these rows.
        """
        ...


class Fate(Enum):
    """What became of one feedback row."""

    NEW = auto()
    REPEAT = auto()
    CONFLICT = auto()
    UNKNOWN = auto()
    SURPLUS = auto()
    """Its generation has as much feedback as it may have."""


async def prepare(conn: Connection) -> bool:
    """Make the connection's temporary tables, before the first ``store``; whether there is a
    columnstore, which ``store`` has to know."""
    await conn.execute(STAGE)
    columnstore = await has_columnstore(conn)
    if columnstore:
        await lift_limit(conn)
    return columnstore


async def store(
    conn: Connection,
    generations: Sequence[Row],
    feedback: Sequence[Feedback],
    *,
    survived: Sequence[float | None] = (),
    surplus: Collection[int] = (),
    again: bool = False,
    columnstore: bool = False,
    charge: Charge | None = None,
    booked: bool = False,
    users: active_users.Users | None = None,
) -> list[Fate]:
    """Write both in the caller's transaction, generations first; the fate of each feedback.

    The rollups and the users of the month are brought up to date in the same transaction. The
    partitions of the generations must be there. ``survived`` is, for each feedback that is
    ``edited``, the share of the answer that was kept; ``surplus`` are positions of feedback that is
    not stored, unless it is already.
    ``again`` says that an earlier try may have been committed without our knowing: then feedback
    with our own time of receipt counts as new. Raises psycopg.errors.UniqueViolation where a
    generation is there already (see ``find_new``), or was booked by ``charge`` and is gone since:
    then say ``booked``. ``users`` are those to be noted as active, None: all. Of users who have
    been forgotten since they asked, nothing is kept but what ``charge`` writes.
    """
    costs: Sequence[int] = [0] * len(generations)
    if generations:
        if charge is not None:
            costs = await charge(conn, generations, again=again or booked)
        await _copy(conn, generations, costs)
    days = sorted({day_of(f.generation) for f in feedback})
    about = {f.generation for position, f in enumerate(feedback) if position not in surplus}
    which = {"days": days, "generations": sorted(about)}
    # A pipeline: the statements travel together, and their results come back together.
    late = locked = written = None
    async with conn.pipeline():
        if generations:
            await tally.stage(conn, tally.tally(generations, costs))
            await active_users.note(
                conn, active_users.users_of(generations) if users is None else users
            )
            late = await conn.execute(LATE, (oldest(generations),))
        if feedback:
            await conn.execute(STAGE_FEEDBACK, {"rows": _encode(feedback, survived, surplus)})
            if columnstore:
                await hold_staged(conn)
            locked = await conn.execute(KNOWN if columnstore else LOCK, {"days": days})
            await conn.execute(STAGE_OUTCOMES, {**which, "sign": -1})
            written = await conn.execute(INSERT_FEEDBACK, {"days": days})
            await conn.execute(STAGE_OUTCOMES, {**which, "sign": 1})
        await rollups.add_staged(conn)
        answers = [await cursor.fetchall() if cursor else [] for cursor in (late, locked, written)]
    if answers[0] == [(True,)]:
        await remove_late(conn, generations)
    known: set[int] = {position for position, own in answers[1] if own}
    inserted: set[tuple[str, str]] = {(tenant, id) for tenant, id in answers[2]}
    if len(inserted) == len(feedback):
        return [Fate.NEW] * len(feedback)
    cursor = await conn.execute(COMPARE)
    compared = {position: tuple(rest) for position, *rest in await cursor.fetchall()}
    return _fates(feedback, known, inserted, compared, again=again)


async def find_new(conn: Connection, rows: Sequence[Row]) -> list[Row]:
    """Those that are not in Postgres; of several with one id the first."""
    unique = {row.id: row for row in reversed(rows)}
    which = {"days": sorted({row.day for row in rows}), "ids": list(unique)}
    cursor = await conn.execute(FIND, which)
    known = {id for (id,) in await cursor.fetchall()}
    return [row for row in rows if row.id not in known and unique[row.id] is row]


async def _copy(conn: Connection, generations: Sequence[Row], costs: Sequence[int]) -> None:
    statement = f"copy generations ({_STORED}) from stdin (format binary)".encode()
    async with conn.cursor() as cursor, cursor.copy(statement) as copy:
        await copy.write(complete(generations, costs))


def _fates(
    feedback: Sequence[Feedback],
    known: set[int],
    inserted: set[tuple[str, str]],
    compared: dict[int, tuple[Any, ...]],
    *,
    again: bool,
) -> list[Fate]:
    """As if one by one: an inserted key was free until its first row of a known generation."""
    left = set(inserted)
    fates: list[Fate] = []
    for position, f in enumerate(feedback):
        present, same, simultaneous, surplus = compared[position]
        key = (f.tenant, f.id)
        if key in left and position in known and not surplus:
            fates.append(Fate.NEW)
            left.discard(key)
        elif key in left or not present:
            fates.append(Fate.SURPLUS if surplus and position in known else Fate.UNKNOWN)
        elif not same:
            fates.append(Fate.CONFLICT)
        else:
            fates.append(Fate.NEW if again and simultaneous else Fate.REPEAT)
    return fates


def _encode(
    feedback: Sequence[Feedback], survived: Sequence[float | None], surplus: Collection[int]
) -> str:
    """Rows of the table ``staged_feedback`` as JSON."""
    rows = [
        {
            "position": position,
            "day": day_of(f.generation),
            "survived": survived[position] if survived else None,
            "surplus": position in surplus,
            **dict(zip(FEEDBACK, feedback_row(f), strict=True)),
        }
        for position, f in enumerate(feedback)
    ]
    return msgspec.json.encode(rows).decode()
