"""The answers of one task with what was said of each: ``GET /v1/episodes/{id}``."""

from __future__ import annotations

from collections import defaultdict

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.errors import ApiError, bad_request
from liveweights.http.routes import Route, Routes
from liveweights.http.wire import check_text, reply
from liveweights.meter.limits import Limiter
from liveweights.record.episodes import find_steps
from liveweights.record.errors import TooManySteps
from liveweights.serve.api.objects import EpisodeObject, EpisodeStep, Reaction
from liveweights.store.database import Connection, Pool
from liveweights.store.partitions import day_of

STEPS = (
    "select id, created_at, alias, checkpoint, output, reasoning, finish_reason, prompt_tokens,"
    " output_tokens, total_ms from answers"
    " where day = any(%(days)s) and id = any(%(ids)s) order by created_at, id"
)
REACTIONS = (
    "select generation, id, signal, value, text, received_at, extract(epoch from delay)::float8"
    " from reactions where day = any(%(days)s) and generation = any(%(ids)s) order by seq"
)


async def read_episode(conn: Connection, name: str, tenant: str) -> EpisodeObject | None:
    """The tenant's episode; None where it has no such one. Raises TooManySteps."""
    ids = await find_steps(conn, tenant, name, session=False)
    if not ids:
        return None
    values = {"ids": ids, "days": sorted({day_of(id) for id in ids})}
    said: dict[str, list[Reaction]] = defaultdict(list)
    for generation, *reaction in await (await conn.execute(REACTIONS, values)).fetchall():
        said[generation].append(Reaction(*reaction))
    rows = await (await conn.execute(STEPS, values)).fetchall()
    steps = [EpisodeStep(*row, feedback=said[row[0]]) for row in rows]
    return EpisodeObject(
        name,
        steps,
        sum(step.prompt_tokens for step in steps),
        sum(step.output_tokens for step in steps),
    )


class EpisodeEndpoint:
    """Shows a tenant its own episodes."""

    def __init__(self, pool: Pool, authenticator: Authenticator, limiter: Limiter) -> None:
        self._pool = pool
        self._authenticator = authenticator
        self._limiter = limiter

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = await self._authenticator.authenticate_reader(scope)
        await self._limiter.charge(client, "reads")
        asked: str = scope["path_params"]["id"]
        check_text(asked, "The id", "id")
        try:
            async with self._pool.connection() as conn:
                episode = await read_episode(conn, asked, client.tenant)
        except TooManySteps as error:
            raise bad_request(f"{error}.", "id", "invalid_value") from None
        if episode is None:
            message = f"No answer of an episode {asked[:100]!r} is recorded here."
            raise ApiError(404, message, param="id", code="episode_not_found")
        await reply(send, 200, msgspec.json.encode(episode))


def episode_routes(pool: Pool, authenticator: Authenticator, limiter: Limiter) -> Routes:
    return [Route("GET", "/v1/episodes/{id}", EpisodeEndpoint(pool, authenticator, limiter))]
