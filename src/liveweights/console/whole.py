"""Answers with all their words, and all that was said of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import msgspec

from liveweights.console.answers import Reaction
from liveweights.record.listing import Listed
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of


class Whole(msgspec.Struct, frozen=True, kw_only=True):
    """One answer; ``prompt`` is None where the words of its tokens are not known."""

    id: str
    created_at: datetime
    checkpoint: str
    endpoint: str
    tenant: str
    user: str | None
    session: str | None
    prompt: str | None
    output: str
    reasoning: str
    finish_reason: str
    output_tokens: int
    first_token_ms: float
    total_ms: float
    feedback: tuple[Reaction, ...]


WHOLE = "select id, prompt, output, reasoning from answers where day = any(%s) and id = any(%s)"
SAID = """
select generation, id, signal, value, text, received_at from reactions
where day = any(%s) and generation = any(%s) order by seq
"""


async def read_whole(conn: Connection, answers: Sequence[Listed]) -> list[Whole]:
    """In the same order; without those that were removed meanwhile."""
    ids = [one.id for one in answers]
    days = sorted({day_of(id_) for id_ in ids})
    cursor = await conn.execute(WHOLE, (days, ids))
    texts = {id_: texts for id_, *texts in await cursor.fetchall()}
    feedback: dict[str, list[Reaction]] = {}
    cursor = await conn.execute(SAID, (days, ids))
    for about, id_, signal, value, text, at in await cursor.fetchall():
        reaction = Reaction(id=id_, signal=signal, value=value, text=text, received_at=at)
        feedback.setdefault(about, []).append(reaction)
    return [
        Whole(
            id=one.id,
            created_at=one.created_at,
            checkpoint=one.checkpoint,
            endpoint=one.endpoint,
            tenant=one.tenant,
            user=one.user,
            session=one.session,
            prompt=texts[one.id][0],
            output=texts[one.id][1],
            reasoning=texts[one.id][2],
            finish_reason=one.finish_reason,
            output_tokens=one.output_tokens,
            first_token_ms=one.first_token_ms,
            total_ms=one.total_ms,
            feedback=tuple(feedback.get(one.id, ())),
        )
        for one in answers
        if one.id in texts  # else it was removed meanwhile
    ]
