"""One batch of rows in one transaction, however often it is tried."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum, auto

from psycopg import AsyncCursor

from liveweights.record.columns import FEEDBACK, GENERATION, feedback_row, generation_row
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.store.database import Connection

STAGE = """
create temp table if not exists staged_generations (like public.generations)
    on commit delete rows;
create temp table if not exists staged_feedback (
    position int not null, tenant text, id text, generation text, signal text,
    value float8, text text, received_at timestamptz
) on commit delete rows
"""

INSERT_GENERATIONS = """
insert into generations select * from staged_generations on conflict (id) do nothing
"""

# Feedback is only taken for a generation of the same tenant.
INSERT_FEEDBACK = """
insert into feedback (tenant, id, generation, signal, value, text, received_at)
select s.tenant, s.id, s.generation, s.signal, s.value, s.text, s.received_at
from staged_feedback s
join generations g on g.id = s.generation and g.tenant = s.tenant
order by s.position
on conflict (tenant, id) do nothing
returning tenant, id
"""

COMPARE = """
select s.position,
       f.seq is not null as present,
       (f.generation, f.signal, f.value, f.text)
           is not distinct from (s.generation, s.signal, s.value, s.text) as same,
       f.received_at = s.received_at as simultaneous,
       exists (select from generations g where g.id = s.generation and g.tenant = s.tenant) as known
from staged_feedback s
left join feedback f on f.tenant = s.tenant and f.id = s.id
"""


class Fate(Enum):
    """What became of one feedback row."""

    NEW = auto()
    REPEAT = auto()
    CONFLICT = auto()
    UNKNOWN = auto()


async def store(
    conn: Connection,
    generations: Sequence[Generation],
    feedback: Sequence[Feedback],
    *,
    again: bool = False,
) -> list[Fate]:
    """Write both in the caller's transaction, generations first; the fate of each feedback.

    Rows that are there already are left alone. ``again`` says that an earlier try may have been
    committed without our knowing: then a row with our own time of receipt counts as new.
    """
    async with conn.cursor() as cursor:
        await cursor.execute(STAGE)
        if generations:
            rows = (generation_row(g) for g in generations)
            await _copy(cursor, "staged_generations", GENERATION, rows)
            await cursor.execute(INSERT_GENERATIONS)
        if not feedback:
            return []
        columns = {"position": "int4", **FEEDBACK}
        rows = ((position, *feedback_row(f)) for position, f in enumerate(feedback))
        await _copy(cursor, "staged_feedback", columns, rows)
        await cursor.execute(INSERT_FEEDBACK)
        inserted: set[tuple[str, str]] = {(tenant, id) for tenant, id in await cursor.fetchall()}
        await cursor.execute(COMPARE)
        compared = {position: tuple(rest) for position, *rest in await cursor.fetchall()}
    # As if one by one: a key in `inserted` was free until its first row with a known generation.
    fates: list[Fate] = []
    for position, f in enumerate(feedback):
        present, same, simultaneous, known = compared[position]
        key = (f.tenant, f.id)
        if key in inserted and known:
            fates.append(Fate.NEW)
            inserted.discard(key)
        elif key in inserted or not present:
            fates.append(Fate.UNKNOWN)
        elif not same:
            fates.append(Fate.CONFLICT)
        else:
            fates.append(Fate.NEW if again and simultaneous else Fate.REPEAT)
    return fates


async def _copy(
    cursor: AsyncCursor[tuple[object, ...]],
    table: str,
    columns: Mapping[str, str],
    rows: Iterable[tuple[object, ...]],
) -> None:
    statement = f"copy {table} ({', '.join(columns)}) from stdin (format binary)".encode()
    async with cursor.copy(statement) as copy:
        copy.set_types(list(columns.values()))
        for row in rows:
            await copy.write_row(row)
