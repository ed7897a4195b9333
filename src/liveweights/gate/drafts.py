"""What checkpoints drafted when a gate asked them, kept so that each is asked once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import LiteralString

from liveweights.gate.calibration import Draft
from liveweights.gate.cases import CYCLES
from liveweights.record.clean import clean_text
from liveweights.record.holds import hold
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of


def _keep(lock: LiteralString) -> LiteralString:
    """What is being forgotten is not kept, and the reverse: see `hold`."""
    return f"""
insert into drafts (cycle, checkpoint, engine, generation, asked, answer, confidence)
select %(cycle)s, %(checkpoint)s, %(engine)s, g.id, a.asked, a.answer, a.confidence
from unnest(%(days)s::date[], %(ids)s::text[], %(asked)s::text[], %(answers)s::text[],
        %(confidences)s::float8[])
    as a (day, id, asked, answer, confidence)
join recorded g on g.day = a.day and g.id = a.id
where g.day = any(%(days)s::date[])
{lock}
on conflict do nothing
"""


async def read_drafts(
    conn: Connection, checkpoint: str, engine: str, asked: Mapping[str, str]
) -> dict[str, Draft]:
    """Known drafts by generation id, of those that were ``asked`` so: a digest for each."""
    cursor = await conn.execute(
        "select generation, answer, confidence from drafts where checkpoint = %s and engine = %s"
        " and (generation, asked) in (select * from unnest(%s::text[], %s::text[]))",
        (checkpoint, engine, list(asked), list(asked.values())),
    )
    return {id: Draft(answer, confidence) for id, answer, confidence in await cursor.fetchall()}


async def keep_drafts(
    conn: Connection,
    cycle: int,
    *,
    checkpoint: str,
    engine: str,
    drafts: Mapping[str, Draft],
    asked: Mapping[str, str],
) -> None:
    """Store drafts with how each was ``asked``; what is known stays, and what answers a forgotten
    user is not kept."""
    await conn.execute(
        _keep(await hold(conn)),
        {
            "cycle": cycle,
            "checkpoint": checkpoint,
            "engine": engine,
            "days": [day_of(generation) for generation in drafts],
            "ids": list(drafts),
            "asked": [asked[generation] for generation in drafts],
            "answers": [clean_text(draft.text) for draft in drafts.values()],
            "confidences": [draft.confidence for draft in drafts.values()],
        },
    )


async def remove_drafts(conn: Connection, alias: str) -> None:
    """Remove the answers of cycles whose rows no gate asks any more."""
    await conn.execute(
        "delete from drafts where cycle in"
        " (select id from turns where alias = %s order by id desc offset %s)",
        (alias, CYCLES),
    )
