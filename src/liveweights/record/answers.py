"""Answers with what was said of them, without their token ids: for judging, not for learning."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from liveweights.record.feedback import Feedback, Mood
from liveweights.record.generation import completed
from liveweights.record.readable import TENANT, read_branch
from liveweights.store.database import Connection

AT_ONCE = 500
"""Answers that are read at once."""


@dataclass(frozen=True, slots=True)
class FollowUp:
    """How the user's next message sounded, which came ``at`` that time."""

    mood: Mood
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedAnswer:
    """``session`` is the tenant's session, or its user where there is none: what keeps answers
    together. None where nothing does. ``follow_up`` is None where none was heard that is not
    neutral."""

    id: str
    checkpoint: str
    created_at: datetime
    tenant: str
    session: str | None
    surface: str
    language: str
    output: str
    finish_reason: str
    total_ms: float
    feedback: tuple[Feedback, ...]
    follow_up: FollowUp | None = None

    @property
    def completed_at(self) -> datetime:
        """When the whole answer was there."""
        return completed(self.created_at, self.total_ms)

    @property
    def failed(self) -> bool:
        return self.finish_reason == "error"

    @property
    def cancelled(self) -> bool:
        return self.finish_reason == "cancelled"


# While a tenant tries a candidate of its own, the shared checkpoint answers it beside that one, and
# the shared canary never does: nothing of it was drawn.
APART = """
select s.tenant, s.at, s.until from (
    select b.tenant, w.action, w.at, lead(w.at) over (partition by w.alias order by w.id) as until
    from swaps w join standing b on b.alias = w.alias
    where b.model = %(model)s and b.tenant is not null and w.action not in ('hold', 'resume')
) s where s.action in ('canary', 'step') and %(tenant)s::text is null
"""
WHERE = f"""
g.alias = %(model)s and {TENANT} and g.checkpoint = any(%(checkpoints)s)
and g.created_at > %(since)s and g.created_at <= coalesce(%(until)s::timestamptz, 'infinity')
and not exists (
    select from ({APART}) a where a.tenant = g.tenant
    and g.created_at >= a.at and g.created_at < coalesce(a.until, 'infinity')
)
"""


async def iter_answers(
    conn: Connection,
    alias: str,
    checkpoints: Sequence[str],
    since: datetime,
    *,
    until: datetime | None = None,
) -> AsyncGenerator[JudgedAnswer]:
    """What these checkpoints answered as ``alias`` in that time, oldest first: what compares them.
    Of a tenant's branch what they answered to that tenant; of what all share nothing that a tenant
    was answered while it tried a candidate of its own, since then no shared one is drawn for it.

    A few are in memory at a time, however many there are."""
    model, tenant = await read_branch(conn, alias)
    values = {
        "model": model,
        "tenant": tenant,
        "checkpoints": list(checkpoints),
        "since": since,
        "until": until,
    }
    async with conn.transaction(), conn.cursor("answers") as cursor:
        await cursor.execute(
            "select g.id, g.checkpoint, g.created_at, g.tenant,"
            " g.tenant || '/' || coalesce(g.session, g.user_id),"
            " g.surface, g.language, g.output, g.finish_reason, g.total_ms, h.mood, h.at, g.day"
            " from generations g"
            " left join follow_ups h on h.day = g.day and h.generation = g.id"
            " and h.mood <> 'neutral' and h.at > %(since)s"
            f" where {WHERE} order by g.created_at, g.id".encode(),
            values,
        )
        while rows := await cursor.fetchmany(AT_ONCE):
            reactions = await _read_reactions(conn, {row[-1] for row in rows}, [r[0] for r in rows])
            for row in rows:
                yield JudgedAnswer(
                    id=row[0],
                    checkpoint=row[1],
                    created_at=row[2],
                    tenant=row[3],
                    session=row[4],
                    surface=row[5],
                    language=row[6],
                    output=row[7],
                    finish_reason=row[8],
                    total_ms=row[9],
                    feedback=tuple(reactions.get(row[0], ())),
                    follow_up=None if row[10] is None else FollowUp(row[10], row[11]),
                )


async def _read_reactions(
    conn: Connection, days: Collection[date], ids: Sequence[str]
) -> dict[str, list[Feedback]]:
    """By generation, as they arrived."""
    cursor = await conn.execute(
        "select tenant, id, generation, signal, value, text, received_at from feedback"
        " where day = any(%s) and generation = any(%s) order by seq",
        (list(days), ids),
    )
    reactions: dict[str, list[Feedback]] = {}
    async for tenant, id_, generation, signal, value, text, at in cursor:
        reactions.setdefault(generation, []).append(
            Feedback(
                id=id_,
                generation=generation,
                signal=signal,
                value=value,
                text=text,
                tenant=tenant,
                received_at=at,
            )
        )
    return reactions
