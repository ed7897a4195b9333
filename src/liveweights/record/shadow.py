"""What a checkpoint would have answered: kept beside the record, never learnt from."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime

from liveweights.record.clean import clean_text
from liveweights.record.forget import NOT_FORGOTTEN, forgotten_key
from liveweights.record.shadow_answer import ShadowAnswer
from liveweights.store.database import Connection


async def keep_shadow(conn: Connection, answer: ShadowAnswer) -> None:
    """Store it; the same generation and checkpoint again changes nothing, and what a user asked
    before being forgotten is not kept."""
    await conn.execute(
        "insert into shadow_answers (generation, checkpoint, alias, created_at, session, output,"
        " finish_reason, total_ms) select %s, %s, %s, %s::timestamptz, %s, %s, %s, %s::real"
        f" where {NOT_FORGOTTEN} on conflict do nothing",
        (
            answer.generation,
            answer.checkpoint,
            answer.alias,
            answer.created_at,
            answer.session,
            clean_text(answer.output),
            answer.finish_reason,
            answer.total_ms,
            forgotten_key(answer.tenant, answer.user),
            answer.asked_at,
        ),
    )


EXPIRE = """
delete from shadow_answers s where created_at < now() - make_interval(days => %s)
    and not exists (select from aliases a where a.canary = s.checkpoint)
"""
DAYS = 7
"""For which answers are kept whose checkpoint is no canary any more, for people to look at."""


async def expire_shadows(conn: Connection) -> None:
    """Remove those that nothing asks for any more, in the caller's transaction."""
    await conn.execute(EXPIRE, (DAYS,))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one of the two answers to a request."""

    failed: bool
    total_ms: float
    output: str


@dataclass(frozen=True, slots=True)
class Shadow:
    """A request that was answered twice: to the user, and ``at`` some time in the shadow."""

    at: datetime
    served: Outcome
    shadow: Outcome


async def iter_shadows(
    conn: Connection, alias: str, checkpoint: str, since: datetime
) -> AsyncGenerator[Shadow]:
    """What ``checkpoint`` answered in the alias's shadow after ``since``, oldest first; a few are
    in memory at a time."""
    async with conn.transaction(), conn.cursor("shadows") as cursor:
        await cursor.execute(
            "select s.created_at, g.finish_reason = 'error', g.total_ms, g.output,"
            " s.finish_reason = 'error', s.total_ms, s.output"
            " from shadow_answers s join generations g"
            " on g.day = generation_day(s.generation) and g.id = s.generation"
            " where s.checkpoint = %s and s.alias = (select model from standing where alias = %s)"
            " and s.created_at > %s order by s.created_at",
            (checkpoint, alias, since),
        )
        async for at, *rest in cursor:
            yield Shadow(at, Outcome(*rest[:3]), Outcome(*rest[3:]))
