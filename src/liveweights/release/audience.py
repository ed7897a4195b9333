"""How many people a checkpoint has answered."""

from __future__ import annotations

import msgspec

from liveweights.store.database import Connection

UNDER = """
alias = (select model from standing where alias = %(alias)s)
and coalesce(tenant = (select tenant from standing where alias = %(alias)s), true)
"""
"""Answers that were given under an alias; a tenant's branch is part of its model's."""


class Audience(msgspec.Struct, frozen=True, kw_only=True):
    """Who was answered by a checkpoint through an alias; the nameless count one by one."""

    answers: int
    sessions: int
    users: int


class Crowd(msgspec.Struct, frozen=True, kw_only=True):
    """Who asks an alias at all: sessions of the last day, and answers a second of late."""

    sessions: int
    answers_per_second: float


async def read_crowd(conn: Connection, alias: str, seconds: float) -> Crowd:
    """Answers are those of the last ``seconds``. A user who names no session is one, and so is an
    answer of nobody: that is what stays on one side."""
    cursor = await conn.execute(
        "select count(distinct (tenant, coalesce(session, user_id, id))),"
        " count(*) filter (where created_at > now() - make_interval(secs => %(seconds)s))"
        f" from recorded where {UNDER} and created_at > now() - interval '1 day'",
        {"alias": alias, "seconds": seconds},
    )
    row = await cursor.fetchone()
    assert row is not None
    return Crowd(sessions=row[0], answers_per_second=row[1] / seconds)


async def count_audience(conn: Connection, alias: str, checkpoint: str) -> Audience:
    """Everyone whom ``checkpoint`` ever answered as ``alias``."""
    cursor = await conn.execute(
        "select count(*), count(distinct (tenant, coalesce(session, user_id, id))),"
        " count(distinct (tenant, coalesce(user_id, session, id)))"
        f" from recorded where {UNDER} and checkpoint = %(id)s and created_at >="
        " (select min(at) from releases where alias = %(alias)s and checkpoint = %(id)s)",
        {"alias": alias, "id": checkpoint},
    )
    row = await cursor.fetchone()
    assert row is not None
    return Audience(answers=row[0], sessions=row[1], users=row[2])
