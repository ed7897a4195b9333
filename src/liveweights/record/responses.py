"""Answers of /v1/responses, kept so that a later one can go on from them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from liveweights.record.connection import connect
from liveweights.record.errors import ConversationTooLong, StoreAway, UnknownResponse
from liveweights.record.forget import NOT_FORGOTTEN, forgotten_key
from liveweights.record.response import StoredResponse
from liveweights.store.database import Connection, Pool

log = logging.getLogger(__name__)

LONGEST = 1000
"""Answers in a row that a conversation may have."""
LARGEST = 8 * 2**20
"""Bytes of JSON that a conversation may have: far more than a context holds."""


INSERT: LiteralString = f"""
insert into responses (id, tenant, user_id, previous, created_at, input, body)
select %s, %s, %s, %s, %s::timestamptz, %s, %s where {NOT_FORGOTTEN}
"""

CONVERSATION = """
with recursive turns as (
    select id, previous, input, body, 1 as depth,
        octet_length(input::text) + coalesce(octet_length((body -> 'output')::text), 0) as size
    from responses where tenant = %(tenant)s and id = %(id)s
    union all
    select r.id, r.previous, r.input, r.body, t.depth + 1,
        t.size + octet_length(r.input::text) + coalesce(octet_length((r.body -> 'output')::text), 0)
    from responses r join turns t on r.id = t.previous and r.tenant = %(tenant)s
    where t.depth <= %(longest)s and t.size <= %(largest)s
)
select input, body -> 'output', previous, size from turns order by depth desc
"""

OUTPUTS = """
select body -> 'output', octet_length((body -> 'output')::text) from responses
where tenant = %s and id = any(%s)
"""
AT_ONCE = 20

ROOT = """
with recursive turns as (
    select id, previous, body, 1 as depth
    from responses where tenant = %(tenant)s and id = %(id)s
    union all
    select r.id, r.previous, r.body, t.depth + 1
    from responses r join turns t on r.id = t.previous and r.tenant = %(tenant)s
    where t.depth <= %(longest)s
)
select coalesce(body -> 'metadata' ->> 'episode', id) from turns order by depth desc limit 1
"""

# Of what is old, that from which something young goes on, and what led there.
EXPIRE = """
with recursive kept as (
    select id, tenant, previous from responses r where created_at < now() - %(age)s and exists (
        select from responses later
        where later.previous = r.id and later.tenant = r.tenant
            and later.created_at >= now() - %(age)s
    )
    union
    select r.id, r.tenant, r.previous
    from responses r join kept k on r.id = k.previous and r.tenant = k.tenant
)
delete from responses r where created_at < now() - %(age)s
    and not exists (select from kept k where k.id = r.id)
"""
EXPIRE_CONVERSATIONS = """
delete from conversations c where created_at < now() - %(age)s and not exists (
    select from conversation_items i
    where i.conversation = c.id and i.created_at >= now() - %(age)s
)
"""
EVERY = 3600.0


async def insert(conn: Connection, response: StoredResponse) -> None:
    """Within a transaction; what a user asked before being forgotten is not kept."""
    await conn.execute(
        INSERT,
        (
            response.id,
            response.tenant,
            response.user,
            response.previous,
            response.created_at,
            Jsonb(response.input),
            Jsonb(response.body),
            forgotten_key(response.tenant, response.user),
            response.created_at,
        ),
    )


class ResponseStore:
    """What was stored is durable; any instance on the same database can go on from it.

    Every method raises StoreAway; ``add`` raises Unstorable.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def reach(self) -> None:
        """Return where something could be read or added now."""
        async with connect(self._pool) as conn:
            await conn.execute("select 1")

    async def add(self, response: StoredResponse) -> None:
        """Return once durable; what a user asked before being forgotten is not kept."""
        async with connect(self._pool) as conn:
            await insert(conn, response)

    async def read(self, tenant: str, id: str) -> dict[str, Any]:
        """The answer as it was sent. Raises UnknownResponse."""
        return await self._read("select body from responses", tenant, id)

    async def asked(self, tenant: str, id: str) -> list[dict[str, Any]]:
        """The items that were new in its request. Raises UnknownResponse."""
        return await self._read("select input from responses", tenant, id)

    async def _read(self, what: LiteralString, tenant: str, id: str) -> Any:
        async with connect(self._pool) as conn:
            cursor = await conn.execute(f"{what} where tenant = %s and id = %s", (tenant, id))
            row = await cursor.fetchone()
        if row is None:
            raise UnknownResponse(id)
        return row[0]

    async def conversation(self, tenant: str, id: str) -> list[dict[str, Any]]:
        """All items up to and with the answer ``id``, the oldest first.

        Raises UnknownResponse, also where an earlier answer was deleted; ConversationTooLong.
        """
        async with connect(self._pool) as conn:
            cursor = await conn.execute(
                CONVERSATION,
                {"tenant": tenant, "id": id, "longest": LONGEST, "largest": LARGEST},
            )
            rows = await cursor.fetchall()
        if len(rows) > LONGEST:
            raise ConversationTooLong(f"more than {LONGEST} answers lead to {id}")
        if rows and rows[0][3] > LARGEST:
            raise ConversationTooLong(f"more than {LARGEST} bytes lead to {id}")
        if not rows or rows[0][2] is not None:
            raise UnknownResponse(rows[0][2] if rows else id)
        return [item for asked, answered, *_ in rows for item in (*asked, *answered)]

    async def outputs(self, tenant: str, ids: Sequence[str]) -> list[dict[str, Any]]:
        """The items of these answers, of those that are stored. Raises ConversationTooLong."""
        if len(ids) > LONGEST:
            raise ConversationTooLong(f"items of more than {LONGEST} answers are named")
        items: list[dict[str, Any]] = []
        size = 0
        async with connect(self._pool) as conn:
            # A few at a time, so that no more than that is read beyond what may be.
            for start in range(0, len(ids), AT_ONCE):
                values = (tenant, list(ids[start : start + AT_ONCE]))
                for output, bytes in await (await conn.execute(OUTPUTS, values)).fetchall():
                    items += output
                    size += bytes
                if size > LARGEST:
                    raise ConversationTooLong(f"the answers named have more than {LARGEST} bytes")
        return items

    async def episode(self, tenant: str, id: str) -> str:
        """What its first answer's request called the conversation up to ``id`` in
        ``metadata.episode``, else that answer's id. Raises UnknownResponse."""
        async with connect(self._pool) as conn:
            values = {"tenant": tenant, "id": id, "longest": LONGEST}
            row = await (await conn.execute(ROOT, values)).fetchone()
        if row is None:
            raise UnknownResponse(id)
        return row[0]

    async def delete(self, tenant: str, id: str) -> None:
        """Raises UnknownResponse."""
        async with connect(self._pool) as conn:
            cursor = await conn.execute(
                "delete from responses where tenant = %s and id = %s", (tenant, id)
            )
        if not cursor.rowcount:
            raise UnknownResponse(id)

    async def expire(self, days: int) -> int:
        """Delete answers that are older, and that no younger one goes on from, and conversations
        in which nothing younger was said; how many."""
        age = {"age": timedelta(days=days)}
        async with connect(self._pool) as conn:
            # In the order of those who write both.
            conversations = await conn.execute(EXPIRE_CONVERSATIONS, age)
            answers = await conn.execute(EXPIRE, age)
        return answers.rowcount + conversations.rowcount

    async def keep_expiring(self, days: int, every: float = EVERY) -> None:
        """For ever: what ``expire`` does, each hour. 0 days: nothing expires."""
        while days:
            try:
                if count := await self.expire(days):
                    log.info(
                        "%d stored responses and conversations are older than %d days, and gone",
                        count,
                        days,
                    )
            except StoreAway as error:
                log.warning("stored responses are kept for longer: %s", error)
            await asyncio.sleep(every)
