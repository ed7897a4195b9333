"""From a checkpoint back to its base, and to the reactions that made it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from liveweights.store.database import Connection
from liveweights.weights.registry import NotRegistered


class Ancestor(msgspec.Struct, frozen=True, kw_only=True):
    """One checkpoint of the chain, and what the cycle that made it read and found.

    ``parents`` is what it was made from: what it goes on from, what it is on, all parts of a merge.
    ``generations`` counts the answers that the update read, ``held_back`` those that judged it;
    ``feedback`` counts reactions of either. ``feedback_ids`` are filled on request. ``withdrawn``:
    it was released, and taken back since. ``tenant``: it has learnt from that one's feedback alone.
    """

    id: str
    kind: str
    created_at: datetime
    parents: tuple[str, ...] = ()
    cycle: int | None = None
    outcome: str | None = None
    withdrawn: bool = False
    verdict: str | None = None
    reasons: tuple[str, ...] = ()
    generations: int = 0
    held_back: int = 0
    feedback: int = 0
    feedback_ids: tuple[str, ...] = ()
    tenant: str | None = None


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """From ``checkpoint`` to its base, newest first; where merges are on the way, all branches."""

    checkpoint: str
    base: str
    chain: tuple[Ancestor, ...]


MODELS = """
select distinct coalesce(a.model, a.name)
from releases r join aliases a on a.name = r.alias join ancestry x on x.id = r.checkpoint
where {} = %s
order by 1
"""
CHAIN = """
with recursive walk as (
    select id, 0 as depth from ancestry where id = %(id)s
    union
    select d.parent, depth + 1 from descent d join walk on d.id = walk.id
), chain as (
    select a.id, a.kind, a.created_at, a.tenant, w.depth
    from (select id, max(depth) as depth from walk group by id) w join ancestry a on a.id = w.id
)
select chain.id, chain.kind, chain.created_at, cycle.id, cycle.outcome,
    cycle.withdrawn_at is not null, cycle.verdict,
    count(distinct r.generation) filter (where r.split = 'train'),
    count(distinct r.generation) filter (where r.split = 'held_back'),
    count(distinct r.feedback), chain.tenant
from chain
left join lateral (
    -- A later cycle that learnt the same bits again did not make this checkpoint.
    select id, outcome, withdrawn_at, verdict from turns
    where candidate = chain.id order by id limit 1
) cycle on true
left join claimed r on r.cycle = cycle.id
group by chain.id, chain.kind, chain.created_at, chain.tenant, chain.depth,
    cycle.id, cycle.outcome, cycle.withdrawn_at, cycle.verdict
order by chain.depth, chain.id
"""
PARENTS = "select id, array_agg(parent order by parent) from descent where id = any(%s) group by id"


async def read_lineage(
    conn: Connection, checkpoint_id: str, *, feedback_ids: bool = False
) -> Lineage:
    """Everything that a checkpoint was made from. Raises NotRegistered."""
    rows = await (await conn.execute(CHAIN, {"id": checkpoint_id})).fetchall()
    if not rows:
        raise NotRegistered(f"no checkpoint {checkpoint_id!r} is registered")
    cursor = await conn.execute(PARENTS, ([row[0] for row in rows],))
    parents: dict[str, list[str]] = dict(await cursor.fetchall())
    chain: list[Ancestor] = []
    for id_, kind, created, cycle, outcome, withdrawn, verdict, *counts in rows:
        generations, held_back, feedback, tenant = counts
        gate = verdict or {}
        chain.append(
            Ancestor(
                id=id_,
                kind=kind,
                created_at=created,
                parents=tuple(parents.get(id_, ())),
                cycle=cycle,
                outcome=outcome,
                withdrawn=withdrawn,
                verdict=gate.get("outcome"),
                reasons=tuple(gate.get("reasons", ())),
                generations=generations,
                held_back=held_back,
                feedback=feedback,
                feedback_ids=await _feedback_ids(conn, cycle) if feedback_ids and cycle else (),
                tenant=tenant,
            )
        )
    return Lineage(checkpoint=checkpoint_id, base=chain[-1].id, chain=tuple(chain))


async def list_checkpoints(conn: Connection) -> list[dict[str, Any]]:
    """Every checkpoint, oldest first, and which aliases point at it."""
    cursor = await conn.execute(
        "select c.id, c.kind, c.parent, c.created_at, (select string_agg(a.name ||"
        " case when a.live = c.id then ' (live)' else ' (canary)' end, ', ')"
        " from aliases a where c.id in (a.live, a.canary)), c.folder"
        " from ancestry c order by c.created_at"
    )
    names = ("id", "kind", "parent", "created", "alias", "folder")
    return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]


async def _feedback_ids(conn: Connection, cycle: int) -> tuple[str, ...]:
    cursor = await conn.execute(
        "select f.id from claimed r join reactions f"
        " on f.day = r.day and f.generation = r.generation and f.seq = r.feedback"
        " where r.cycle = %s order by f.seq",
        (cycle,),
    )
    return tuple(row[0] for row in await cursor.fetchall())


async def models_of(conn: Connection, checkpoint: str) -> list[str]:
    """The public names that a checkpoint was ever released for, or tried under."""
    return await _models(conn, "x.id", checkpoint)


async def models_on(conn: Connection, root: str) -> list[str]:
    """The public names that anything on that base was ever released for, or tried under."""
    return await _models(conn, "x.root", root)


async def _models(conn: Connection, column: str, id: str) -> list[str]:
    cursor = await conn.execute(MODELS.format(column).encode(), (id,))
    return [row[0] for row in await cursor.fetchall()]
