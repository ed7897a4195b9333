"""Answers as lists show them: newest first, page by page, without their tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec

from liveweights.record.names import NAMES
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of

EXCERPT = 200
"""Characters of an answer that a list shows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Answers of the model ``alias``, also of its checkpoints that were asked for by their ids;
    what is None leaves the choice open. ``before`` is time and id of the answer that those of the
    next page are older than."""

    alias: str
    checkpoint: str | None = None
    tenant: str | None = None
    user: str | None = None
    session: str | None = None
    before: tuple[datetime, str] | None = None


class Listed(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, and what its feedback amounts to: ``decided_by`` is the signal that counts most,
    None without one."""

    id: str
    created_at: datetime
    checkpoint: str
    endpoint: str
    tenant: str
    user: str | None
    session: str | None
    finish_reason: str
    excerpt: str
    characters: int
    output_tokens: int
    first_token_ms: float
    total_ms: float
    feedback: int = 0
    accepted: bool = False
    rejected: bool = False
    decided_by: str | None = None


SHOWN = f"""
select id, created_at, checkpoint, endpoint, tenant, user_id, session, finish_reason,
    left(output, {EXCERPT}), length(output), output_tokens(g), first_token_ms, total_ms
from generations g
"""
CHOSEN = """
where alias = named.name
    and (%(checkpoint)s::text is null or checkpoint = %(checkpoint)s)
    and (%(tenant)s::text is null or tenant = %(tenant)s)
    and (%(user)s::text is null or user_id = %(user)s)
    and (%(session)s::text is null or session = %(session)s)
    and created_at <= coalesce(%(at)s::timestamptz, 'infinity')
    and created_at < coalesce((
        -- What was replaced long ago is not looked for among all since.
        select max(bucket) + interval '1 hour' from counted
        where whole and width = 60 and alias = named.name and checkpoint = %(checkpoint)s
    ), 'infinity')
    and (%(at)s::timestamptz is null or (created_at, id) < (%(at)s, %(id)s))
order by created_at desc, id desc limit %(count)s
"""


def choose(shown: str) -> str:
    """The newest of what ``shown`` (the beginning of a query of answers) shows of those that are
    chosen. The newest of each name are found by themselves: that is what there is an index for."""
    return f"""
select one.* from ({NAMES}) named, lateral ({shown} {CHOSEN}) one
order by created_at desc, id desc limit %(count)s
"""


JUDGED = """
select generation, feedback, accepted, rejected, decided_by from outcomes
where day = any(%s) and generation = any(%s)
"""


async def list_answers(conn: Connection, chosen: Selection, count: int) -> list[Listed]:
    """At most ``count`` of the answers, newest first."""
    return await read_listed(conn, choose(SHOWN), parameters_of(chosen) | {"count": count})


def parameters_of(chosen: Selection) -> dict[str, Any]:
    """Those of ``choose``, but for ``count``."""
    at, id_ = chosen.before or (None, None)
    return {
        "alias": chosen.alias,
        "checkpoint": chosen.checkpoint,
        "tenant": chosen.tenant,
        "user": chosen.user,
        "session": chosen.session,
        "at": at,
        "id": id_,
    }


async def read_listed(
    conn: Connection, statement: str, parameters: Mapping[str, Any]
) -> list[Listed]:
    """The answers of a statement with the columns of ``SHOWN``."""
    cursor = await conn.execute(statement.encode(), parameters)
    names = Listed.__struct_fields__
    rows = [dict(zip(names, row, strict=False)) for row in await cursor.fetchall()]
    judged = await _judgements(conn, [row["id"] for row in rows])
    return [Listed(**row, **judged.get(row["id"], {})) for row in rows]


async def _judgements(conn: Connection, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """By answer; those without feedback are not in it."""
    days = sorted({day_of(id_) for id_ in ids})
    cursor = await conn.execute(JUDGED, (days, list(ids)))
    names = ("feedback", "accepted", "rejected", "decided_by")
    return {id_: dict(zip(names, row, strict=True)) for id_, *row in await cursor.fetchall()}
