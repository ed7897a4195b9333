"""The generations of one task: an episode, or a session of a chat."""

from __future__ import annotations

from typing import LiteralString

from liveweights.record.errors import TooManySteps
from liveweights.record.example import Episode
from liveweights.record.examples import read_examples
from liveweights.record.feedback import MOST_STEPS
from liveweights.record.response import generation_of
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of

# A conversation of responses is named after its first one, which did not know that.
STEPS: LiteralString = """
select id from (
    select id, created_at from generations
    where tenant = %(tenant)s and metadata ->> 'episode' = %(name)s
    union
    select id, created_at from generations
    where day = %(day)s and id = %(first)s and tenant = %(tenant)s
) steps order by created_at, id limit %(most)s
"""
CHATS: LiteralString = """
select id from generations
where tenant = %(tenant)s and session = %(name)s and endpoint = 'chat'
order by created_at, id limit %(most)s
"""


async def find_steps(conn: Connection, tenant: str, name: str, *, session: bool) -> list[str]:
    """The generations of the tenant's episode, or the chat answers of its session, in the order
    they were asked for; nothing where there are none.

    An episode is what requests call so in ``metadata.episode``. The id of an answer of
    ``/v1/responses`` names those that go on from it, and itself. Raises TooManySteps.
    """
    first = generation_of(name) if name.startswith("resp_") else ""
    values = {
        "tenant": tenant,
        "name": name,
        "first": first,
        "day": day_of(first) if first else None,
        "most": MOST_STEPS + 1,
    }
    cursor = await conn.execute(CHATS if session else STEPS, values)
    steps = [id for (id,) in await cursor.fetchall()]
    if len(steps) > MOST_STEPS:
        kind = "session" if session else "episode"
        raise TooManySteps(f"the {kind} {name!r} has more than {MOST_STEPS} answers")
    return steps


async def read_episode(conn: Connection, tenant: str, name: str) -> Episode | None:
    """The tenant's episode with all that was said of it, without prompts and tokens, whose counts
    are in ``usage``; None where there is no such one. Raises TooManySteps."""
    ids = await find_steps(conn, tenant, name, session=False)
    steps = await read_examples(conn, ids)
    return Episode(tenant, name, tuple(steps)) if steps else None
