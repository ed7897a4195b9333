"""What ties answers that name no user to one who is named elsewhere in the same conversation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from liveweights.record.response import generation_of
from liveweights.store.database import Connection

READ = r"""
with recursive named as (
    select id, session, metadata ->> 'episode' as episode from generations
    where tenant = %(tenant)s and user_id = %(user)s and endpoint = 'chat'
), theirs as (
    select id from responses where tenant = %(tenant)s and user_id = %(user)s
    union select 'resp_' || substr(id, 5) from named where id like 'gen\_%%'
    union
    select r.id from responses r join theirs on r.previous = theirs.id
    where r.tenant = %(tenant)s and r.user_id is null
)
select 'session', session from named where session is not null
union select 'response', id from theirs
union select 'episode', episode from named where episode <> ''
union
select 'episode', episode from theirs join responses using (id)
cross join unnest(array[body ->> 'episode', body -> 'metadata' ->> 'episode']) episode
where episode <> ''
union
select 'episode', c.id from conversation_items i join conversations c on c.id = i.conversation
where c.tenant = %(tenant)s and i.user_id = %(user)s
"""


@dataclass(frozen=True, slots=True)
class Threads:
    """Of one user: the ``sessions`` of chats, the ``responses`` with the nameless ones that went on
    from them, stored or not, and the ``episodes`` that turns of these and of conversations are
    of."""

    sessions: frozenset[str]
    episodes: frozenset[str]
    responses: frozenset[str]

    @property
    def answers(self) -> list[str]:
        """The first answer of each of the responses."""
        return [generation_of(id) for id in self.responses]


def make_threads(
    sessions: Iterable[str], episodes: Iterable[str], responses: Iterable[str]
) -> Threads:
    """A turn that goes on from a response has its episode, which is its id where nobody named it
    otherwise."""
    begun = frozenset(responses)
    return Threads(frozenset(sessions), frozenset(episodes) | begun, begun)


async def read_threads(conn: Connection, tenant: str, user: str) -> Threads:
    """As far as they are in Postgres."""
    cursor = await conn.execute(READ, {"tenant": tenant, "user": user})
    found: dict[str, list[str]] = {"session": [], "episode": [], "response": []}
    for kind, name in await cursor.fetchall():
        found[kind].append(name)
    return make_threads(found["session"], found["episode"], found["response"])
