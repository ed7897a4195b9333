"""Conversations of /v1/conversations: what was said in each, in order."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from liveweights.record.connection import connect
from liveweights.record.errors import (
    ConversationTooLong,
    UnknownConversation,
    UnknownItem,
)
from liveweights.record.forget import NOT_FORGOTTEN, forgotten_key
from liveweights.record.response import Conversation, StoredResponse
from liveweights.record.responses import insert
from liveweights.store.database import Connection, Pool

LONGEST = 4000
"""Items that a conversation may have."""
LARGEST = 8 * 2**20
"""Bytes of JSON that they may have: far more than a context holds."""

ADD: LiteralString = f"""
insert into conversation_items (conversation, id, user_id, created_at, item)
select %s, %s, %s, %s, %s where {NOT_FORGOTTEN}
on conflict (conversation, id) do nothing
"""
SIZE = """
select count(*), coalesce(sum(octet_length(item::text)), 0) from conversation_items
where conversation = %s
"""
PAGE = """
select item from conversation_items where conversation = %(id)s and (
    %(after)s::text is null or position > (
        select position from conversation_items where conversation = %(id)s and id = %(after)s
    )
) order by position limit %(limit)s
"""
PAGE_BACK = """
select item from conversation_items where conversation = %(id)s and (
    %(after)s::text is null or position < (
        select position from conversation_items where conversation = %(id)s and id = %(after)s
    )
) order by position desc limit %(limit)s
"""


def _check_size(id: str, count: int, size: int) -> None:
    if count > LONGEST:
        raise ConversationTooLong(f"more than {LONGEST} items would be in {id}")
    if size > LARGEST:
        raise ConversationTooLong(f"more than {LARGEST} bytes would be in {id}")


@dataclass(frozen=True, slots=True)
class ItemPage:
    items: list[dict[str, Any]]
    more: bool


class ConversationStore:
    """What was stored is durable; any instance on the same database can go on from it.

    Every method raises StoreAway, and those that name a conversation UnknownConversation.
    """

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def create(self, conversation: Conversation, items: Sequence[dict[str, Any]]) -> None:
        """Raises Unstorable, ConversationTooLong."""
        values = (
            conversation.id,
            conversation.tenant,
            conversation.created_at,
            Jsonb(conversation.metadata),
        )
        async with connect(self._pool) as conn:
            await conn.execute("insert into conversations values (%s, %s, %s, %s)", values)
            await self._add(conn, conversation, items, None, datetime.now(UTC))

    async def read(self, tenant: str, id: str) -> Conversation:
        async with connect(self._pool) as conn:
            return await self._find(conn, tenant, id)

    async def update(self, tenant: str, id: str, metadata: dict[str, str]) -> Conversation:
        async with connect(self._pool) as conn:
            await self._find(conn, tenant, id)
            change = "update conversations set metadata = %s where id = %s"
            await conn.execute(change, (Jsonb(metadata), id))
            return await self._find(conn, tenant, id)

    async def delete(self, tenant: str, id: str) -> None:
        async with connect(self._pool) as conn:
            await self._find(conn, tenant, id)
            await conn.execute("delete from conversations where id = %s", (id,))

    async def add(
        self,
        tenant: str,
        id: str,
        items: Sequence[dict[str, Any]],
        *,
        user: str | None = None,
        asked: datetime | None = None,
        response: StoredResponse | None = None,
    ) -> None:
        """What was ``asked`` then (None: now), and its answer, together with the ``response`` that
        they are of, or not at all. One that is there already stays as it is; what a user asked
        before being forgotten is not kept. Raises Unstorable, ConversationTooLong."""
        async with connect(self._pool) as conn:
            conversation = await self._find(conn, tenant, id)
            await self._add(conn, conversation, items, user, asked or datetime.now(UTC))
            if response is not None:
                await insert(conn, response)

    async def check_room(self, tenant: str, id: str, items: Sequence[dict[str, Any]]) -> None:
        """Raises ConversationTooLong where these and an answer cannot be added now."""
        async with connect(self._pool) as conn:
            await self._find(conn, tenant, id)
            count, size = await self._size(conn, id)
            known = "select id from conversation_items where conversation = %s and id = any(%s)"
            cursor = await conn.execute(known, (id, [item["id"] for item in items]))
            there = {row[0] for row in await cursor.fetchall()}
        new = {item["id"]: item for item in items if item["id"] not in there}
        size += sum(len(json.dumps(item, ensure_ascii=False).encode()) for item in new.values())
        _check_size(id, count + len(new) + 1, size)

    async def items(self, tenant: str, id: str) -> list[dict[str, Any]]:
        """All of them, the oldest first."""
        page = await self.page(tenant, id, limit=LONGEST)
        return page.items

    async def page(
        self, tenant: str, id: str, *, limit: int, after: str | None = None, newest: bool = False
    ) -> ItemPage:
        """So many, from the one after the item ``after`` on. Raises UnknownItem."""
        async with connect(self._pool) as conn:
            await self._find(conn, tenant, id)
            if after is not None:
                await self._find_item(conn, id, after)
            values = {"id": id, "after": after, "limit": limit + 1}
            cursor = await conn.execute(PAGE_BACK if newest else PAGE, values)
            found = [item for (item,) in await cursor.fetchall()]
        return ItemPage(found[:limit], len(found) > limit)

    async def read_item(self, tenant: str, id: str, item: str) -> dict[str, Any]:
        """Raises UnknownItem."""
        async with connect(self._pool) as conn:
            await self._find(conn, tenant, id)
            return await self._find_item(conn, id, item)

    async def delete_item(self, tenant: str, id: str, item: str) -> Conversation:
        """Raises UnknownItem."""
        async with connect(self._pool) as conn:
            conversation = await self._find(conn, tenant, id)
            await self._find_item(conn, id, item)
            gone = "delete from conversation_items where conversation = %s and id = %s"
            await conn.execute(gone, (id, item))
            return conversation

    async def _add(
        self,
        conn: Connection,
        conversation: Conversation,
        items: Sequence[dict[str, Any]],
        user: str | None,
        asked: datetime,
    ) -> None:
        id = conversation.id
        # One after the other: what is added at the same time is not mixed.
        await conn.execute("select from conversations where id = %s for update", (id,))
        forgotten = (forgotten_key(conversation.tenant, user), asked)
        async with conn.cursor() as cursor:
            await cursor.executemany(
                ADD, [(id, item["id"], user, asked, Jsonb(item), *forgotten) for item in items]
            )
        _check_size(id, *await self._size(conn, id))

    async def _size(self, conn: Connection, id: str) -> tuple[int, int]:
        """Its items, and their bytes."""
        row = await (await conn.execute(SIZE, (id,))).fetchone()
        assert row is not None
        return row[0], row[1]

    async def _find(self, conn: Connection, tenant: str, id: str) -> Conversation:
        cursor = await conn.execute(
            "select id, tenant, created_at, metadata from conversations"
            " where tenant = %s and id = %s",
            (tenant, id),
        )
        row = await cursor.fetchone()
        if row is None:
            raise UnknownConversation(id)
        return Conversation(*row)

    async def _find_item(self, conn: Connection, id: str, item: str) -> dict[str, Any]:
        cursor = await conn.execute(
            "select item from conversation_items where conversation = %s and id = %s", (id, item)
        )
        row = await cursor.fetchone()
        if row is None:
            raise UnknownItem(item)
        return row[0]
