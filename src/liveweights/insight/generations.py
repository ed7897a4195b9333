"""One answer with what was asked and what was said of it: ``GET /v1/generations/{id}``."""

from __future__ import annotations

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.errors import ApiError
from liveweights.http.routes import Route, Routes
from liveweights.http.wire import check_text, reply
from liveweights.meter.limits import Limiter
from liveweights.serve.api.identifiers import generation_of
from liveweights.serve.api.objects import GenerationObject, Reaction
from liveweights.store.database import Connection, Pool
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


async def read_generation(
    conn: Connection, id_: str, tenant: str | None
) -> GenerationObject | None:
    """The answer with its feedback; None where ``tenant`` (None: anybody) has no such answer."""
    values = {"day": day_of(id_), "id": id_, "tenant": tenant}
    row = await (await conn.execute(ANSWER, values)).fetchone()
    if row is None:
        return None
    cursor = await conn.execute(REACTIONS, values)
    return GenerationObject(*row, feedback=[Reaction(*one) for one in await cursor.fetchall()])


class GenerationEndpoint:
    """Shows a tenant its own answers, and the operator everybody's."""

    def __init__(self, pool: Pool, authenticator: Authenticator, limiter: Limiter) -> None:
        self._pool = pool
        self._authenticator = authenticator
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = await self._authenticator.authenticate_reader(scope)
        await self._limiter.charge(client, "reads")
        asked: str = scope["path_params"]["id"]
        check_text(asked, "The id", "id")
        everybody = client.own or not self._authenticator.asks_for_keys
        async with self._pool.connection() as conn:
            answer = await read_generation(
                conn, generation_of(asked), None if everybody else client.tenant
            )
        if answer is None:
            message = f"No answer with the id {asked[:100]!r} is recorded here."
            raise ApiError(404, message, param="id", code="generation_not_found")
        await reply(send, 200, msgspec.json.encode(answer))


def generation_routes(pool: Pool, authenticator: Authenticator, limiter: Limiter) -> Routes:
    return [Route("GET", "/v1/generations/{id}", GenerationEndpoint(pool, authenticator, limiter))]
