"""One answer with what was asked and what was said of it: ``GET /v1/generations/{id}``."""

from __future__ import annotations

from liveweights.insight.own import Lookup, Viewer
from liveweights.record.response import generation_of
from liveweights.serve.api.objects import GenerationObject, Reaction
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of

ANSWER = (
    "select id, created_at, alias, checkpoint, endpoint, tenant, user_id, session, surface,"
    " language, consent, prompt, output, reasoning, finish_reason, prompt_tokens, output_tokens,"
    " first_token_ms, total_ms, metadata from answers"
    " where day = %(day)s and id = %(id)s and (%(tenant)s::text is null or tenant = %(tenant)s)"
)
REACTIONS = (
    "select id, signal, value, text, received_at, extract(epoch from delay)::float8"
    " from reactions where day = %(day)s and generation = %(id)s order by seq"
)


async def show_generation(conn: Connection, asked: str, viewer: Viewer) -> GenerationObject | None:
    """The answer with its feedback; None where there is none that the viewer may see."""
    id_ = generation_of(asked)
    tenant = None if viewer.sees_all else viewer.tenant
    values = {"day": day_of(id_), "id": id_, "tenant": tenant}
    row = await (await conn.execute(ANSWER, values)).fetchone()
    if row is None:
        return None
    cursor = await conn.execute(REACTIONS, values)
    return GenerationObject(*row, feedback=[Reaction(*one) for one in await cursor.fetchall()])


GENERATION = Lookup("/v1/generations", "generation", show_generation)
