"""What checkpoints answered when a gate asked them, kept so that each is asked once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import LiteralString

from liveweights.cycle.cases import CYCLES
from liveweights.record.clean import clean_text
from liveweights.record.holds import hold
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of


def _keep(lock: LiteralString) -> LiteralString:
    """What is being forgotten is not kept, and the reverse: see `hold`."""
    return f"""
insert into replays (cycle, checkpoint, engine, generation, answer)
select %(cycle)s, %(checkpoint)s, %(engine)s, g.id, a.answer
from unnest(%(days)s::date[], %(ids)s::text[], %(answers)s::text[]) as a (day, id, answer)
join generations g on g.day = a.day and g.id = a.id
where g.day = any(%(days)s::date[])
{lock}
on conflict do nothing
"""


async def read_replays(
    conn: Connection, checkpoint: str, engine: str, generations: Sequence[str]
) -> dict[str, str]:
    """Known answers by generation id."""
    cursor = await conn.execute(
        "select generation, answer from replays"
        " where checkpoint = %s and engine = %s and generation = any(%s)",
        (checkpoint, engine, list(generations)),
    )
    return dict(await cursor.fetchall())


async def keep_replays(
    conn: Connection, cycle: int, checkpoint: str, engine: str, answers: Mapping[str, str]
) -> None:
    """Store answers; what is known stays, and what answers a forgotten user is not kept."""
    await conn.execute(
        _keep(await hold(conn)),
        {
            "cycle": cycle,
            "checkpoint": checkpoint,
            "engine": engine,
            "days": [day_of(generation) for generation in answers],
            "ids": list(answers),
            "answers": [clean_text(text) for text in answers.values()],
        },
    )


async def remove_replays(conn: Connection, alias: str) -> None:
    """Remove the answers of cycles whose rows no gate asks any more."""
    await conn.execute(
        "delete from replays where cycle in"
        " (select id from cycles where alias = %s order by id desc offset %s)",
        (alias, CYCLES),
    )
