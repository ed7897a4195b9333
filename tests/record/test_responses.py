from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from liveweights.record import responses, threads
from liveweights.record.errors import ConversationTooLong, StoreAway, UnknownResponse, Unstorable
from liveweights.record.forget import DELETE_RESPONSES, forget
from liveweights.record.response import StoredResponse
from liveweights.record.responses import ResponseStore
from liveweights.store.database import Pool, open_pool


def make(
    id: str,
    previous: str | None = None,
    *,
    tenant: str = "t",
    user: str | None = "u",
    ago: float = 0.0,
) -> Any:
    return StoredResponse(
        id=id,
        tenant=tenant,
        user=user,
        previous=previous,
        created_at=datetime.now(UTC) - timedelta(seconds=ago),
        input=[{"role": "user", "content": f"ask {id}"}],
        body={"id": id, "output": [{"role": "assistant", "content": f"say {id}"}]},
    )


def use(dsn: str, work: Callable[[ResponseStore, Pool], Awaitable[None]]) -> None:
    async def scenario() -> None:
        pool = await open_pool(dsn)
        try:
            await work(ResponseStore(pool), pool)
        finally:
            await pool.close()

    asyncio.run(scenario())


def test_a_conversation_is_its_chain(database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(store: ResponseStore, pool: Pool) -> None:
        for id, previous in (("a", None), ("b", "a"), ("c", "b"), ("other", "a")):
            await store.add(make(id, previous))
        items = await store.conversation("t", "c")
        assert [item["content"] for item in items] == [
            f"{what} {id}" for id in "abc" for what in ("ask", "say")
        ]
        assert (await store.read("t", "b"))["id"] == "b"
        assert await store.asked("t", "b") == [{"role": "user", "content": "ask b"}]
        for call in (store.read, store.asked, store.conversation, store.delete):
            with pytest.raises(UnknownResponse):
                await call("another tenant", "c")
        outputs = await store.outputs("t", ["c", "none", "a"])
        assert {item["content"] for item in outputs} == {"say a", "say c"}
        assert await store.outputs("another tenant", ["c"]) == []
        monkeypatch.setattr(responses, "LONGEST", 2)
        with pytest.raises(ConversationTooLong):
            await store.outputs("t", ["a", "b", "c"])
        with pytest.raises(ConversationTooLong):
            await store.conversation("t", "c")
        assert len(await store.conversation("t", "b")) == 4
        size = len(str(await store.conversation("t", "b")))
        monkeypatch.setattr(responses, "LARGEST", size // 2)
        with pytest.raises(ConversationTooLong, match="bytes"):
            await store.conversation("t", "b")
        monkeypatch.setattr(responses, "LARGEST", 10)
        with pytest.raises(ConversationTooLong, match="bytes"):
            await store.outputs("t", ["a"])
        monkeypatch.setattr(responses, "LARGEST", 2 * size)
        await store.delete("t", "a")
        with pytest.raises(UnknownResponse, match="a"):
            await store.conversation("t", "b")

    use(database_dsn, work)


def test_a_user_who_is_forgotten_leaves_no_conversation(database_dsn: str) -> None:
    async def work(store: ResponseStore, pool: Pool) -> None:
        await store.add(make("a"))
        await store.add(make("b", user="someone else"))
        # It went on without a name.
        await store.add(make("c", "a", user=None))
        await store.add(make("d", user=None))
        async with pool.connection() as conn:
            await forget(conn, "t", "u")
        await store.add(make("late", ago=60))
        await store.add(make("new", ago=-60))
        for kept in ("b", "d", "new"):
            await store.read("t", kept)
        for gone in ("a", "c", "late"):
            with pytest.raises(UnknownResponse):
                await store.read("t", gone)

    use(database_dsn, work)


def test_what_is_old_expires_unless_a_younger_answer_goes_on_from_it(database_dsn: str) -> None:
    day = 86_400.0
    stored = [
        *(make("old", ago=40 * day), make("older", "old", ago=31 * day)),
        *(make("begun", ago=50 * day), make("gone on", "begun", ago=45 * day)),
        *(make("new", "gone on", ago=day), make("beside", "gone on", ago=44 * day)),
        *(make("x", tenant="another", ago=40 * day), make("y", "x", ago=day)),
    ]

    async def work(store: ResponseStore, pool: Pool) -> None:
        for response in stored:
            await store.add(response)
        await asyncio.wait_for(store.keep_expiring(0), 20)
        assert await store.expire(60) == 0
        assert await store.expire(30) == 4
        assert await store.expire(30) == 0
        assert len(await store.conversation("t", "new")) == 6
        for gone in ("old", "older", "beside"):
            with pytest.raises(UnknownResponse):
                await store.read("t", gone)
        with pytest.raises(UnknownResponse):
            await store.read("another", "x")

    use(database_dsn, work)


def test_nothing_of_it_reads_all_that_is_stored(database_dsn: str) -> None:
    """Whoever records waits for a user who is forgotten, and each hour something expires."""
    age = {"age": timedelta(days=30)}
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into responses select 'r' || n, 't', case when n % 7 = 0 then 'u' || n end,"
            " case when n % 5 > 0 then 'r' || n - 1 end,"
            " now() - interval '721 hours' + n * interval '2 minutes', '[]',"
            " to_jsonb(repeat('x', 1000)) from generate_series(1, 20000) n"
        )
        conn.execute("insert into conversations select id, tenant, created_at, '{}' from responses")
        conn.execute("analyze responses, conversations")
        for query in (
            threads.READ,
            DELETE_RESPONSES,
            responses.EXPIRE,
            responses.EXPIRE_CONVERSATIONS,
        ):
            values = {"tenant": "t", "user": "u7", "responses": ["r7"], **age}
            cursor = conn.execute(f"explain {query}".encode(), values)
            plan = "\n".join(line for (line,) in cursor)
            assert "Seq Scan on responses" not in plan
            assert "Seq Scan on conversations" not in plan


def test_a_database_that_is_away_says_so(database_dsn: str) -> None:
    async def scenario() -> None:
        pool = await open_pool(database_dsn)
        await pool.close()
        with pytest.raises(StoreAway):
            await ResponseStore(pool).read("t", "a")

    asyncio.run(scenario())


def test_what_is_refused_is_not_taken_for_a_database_that_is_away(database_dsn: str) -> None:
    """Both are psycopg's OperationalError."""
    wide = "".join(map(chr, range(0x4E00, 0x5A00)))

    async def work(store: ResponseStore, pool: Pool) -> None:
        with pytest.raises(Unstorable, match="54000 index row"):
            await store.add(make("r", user=wide))
        async with pool.connection() as conn:
            await conn.execute("alter table responses rename to away")
        with pytest.raises(StoreAway):
            await store.add(make("r"))

    use(database_dsn, work)
