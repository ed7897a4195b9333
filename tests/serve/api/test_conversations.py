"""Conversations, as the official client asks for them; and their two stores keep one promise."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import openai
import pytest
from openai import OpenAI
from psycopg.types.json import Jsonb

from liveweights.record import conversations
from liveweights.record.conversations import ADD, ConversationStore
from liveweights.record.errors import (
    ConversationTooLong,
    UnknownConversation,
    UnknownItem,
    Unstorable,
)
from liveweights.record.forget import forget
from liveweights.record.response import Conversation, StoredResponse
from liveweights.record.responses import ResponseStore
from liveweights.serve.api.recorder import Conversations
from liveweights.store.database import Pool, open_pool

from .doubles import Api, MemoryConversations, make_api, make_tokenizer
from .servers import serving
from .test_responses import respond

HI: Any = {"type": "message", "role": "user", "content": "My name is Ada."}


@pytest.fixture
def api() -> Api:
    return make_api("hello", context_length=4096)


@pytest.fixture
def client(api: Api) -> Iterator[OpenAI]:
    with serving(api.app) as url, OpenAI(base_url=url, api_key="any", max_retries=0) as client:
        yield client


def prompts(api: Api) -> list[str]:
    return [make_tokenizer().decode(ids) for _, ids, _ in api.engine.calls]


def test_it_is_made_read_changed_and_deleted(client: OpenAI) -> None:
    made = client.conversations.create(items=[HI], metadata={"topic": "names"})
    assert (made.object, made.metadata) == ("conversation", {"topic": "names"})
    assert client.conversations.retrieve(made.id) == made
    changed = client.conversations.update(made.id, metadata={"topic": "other"})
    assert changed.metadata == {"topic": "other"}
    assert client.conversations.delete(made.id).deleted is True
    with pytest.raises(openai.NotFoundError) as caught:
        client.conversations.retrieve(made.id)
    assert caught.value.code == "conversation_not_found"


def test_its_items_are_listed_added_and_removed(client: OpenAI) -> None:
    made = client.conversations.create(items=[HI])
    added = client.conversations.items.create(
        made.id, items=[HI | {"role": "assistant", "content": str(n)} for n in range(5)]
    )
    assert len(added.data) == 5
    listed = list(client.conversations.items.list(made.id, order="asc", limit=2))  # pages by itself
    assert [item.type for item in listed] == ["message"] * 6
    assert [item.content[0].text for item in listed[1:]] == list("01234")  # type: ignore[union-attr]
    assert listed[0].content[0].type == "input_text"  # type: ignore[union-attr]
    more: Any = ["message.output_text.logprobs", "reasoning.encrypted_content"]
    assert list(client.conversations.items.list(made.id, order="asc", include=more)) == listed
    newest = client.conversations.items.list(made.id, limit=1)
    assert newest.data[0].id == listed[-1].id
    item: Any = client.conversations.items.retrieve(
        listed[2].id or "", conversation_id=made.id, include=more
    )
    assert item.content[0].text == "1"
    left = client.conversations.items.delete(listed[2].id or "", conversation_id=made.id)
    assert left.id == made.id
    with pytest.raises(openai.NotFoundError) as caught:
        client.conversations.items.retrieve(listed[2].id or "", conversation_id=made.id)
    assert caught.value.code == "item_not_found"


@pytest.mark.parametrize("named", [lambda id: id, lambda id: {"id": id}])
def test_answers_go_on_from_it_and_are_added(
    client: OpenAI, api: Api, named: Callable[[str], Any]
) -> None:
    made = client.conversations.create(items=[HI])
    first = client.responses.create(model="tiny", input="And I?", conversation=named(made.id))
    assert first.conversation is not None
    assert first.conversation.id == made.id
    client.responses.create(model="tiny", input="Sure?", conversation=named(made.id))
    last = prompts(api)[-1]
    places = [last.index(text) for text in ("My name is Ada.", "And I?", "hello", "Sure?")]
    assert places == sorted(places)
    assert len(list(client.conversations.items.list(made.id))) == 5
    one, other = api.recorder.generations.values()
    assert one.metadata["episode"] == other.metadata["episode"] == made.id
    assert one.session == other.session


def test_a_response_that_cannot_be_stored_adds_nothing(client: OpenAI, api: Api) -> None:
    made = client.conversations.create(items=[HI])
    api.responses.away = True
    with pytest.raises(openai.APIStatusError):
        client.responses.create(model="tiny", input="And I?", conversation=made.id)
    assert len(list(client.conversations.items.list(made.id))) == 1


def test_an_answer_that_was_not_given_is_not_added(client: OpenAI, api: Api) -> None:
    made = client.conversations.create(items=[HI])
    api.engine.fail_at = 2
    with pytest.raises(openai.APIStatusError):
        client.responses.create(model="tiny", input="And I?", conversation=made.id)
    assert len(list(client.conversations.items.list(made.id))) == 1


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/conversations/conv_none", None, 404),
        ("GET", "/v1/conversations/conv_none/items", None, 404),
        ("GET", "/v1/conversations/a/b/c/d", None, 404),
        ("POST", "/v1/conversations", {"items": [{"type": "web_search_call"}]}, 400),
        ("POST", "/v1/conversations", {"metadata": {"a": 1}}, 400),
        ("POST", "/v1/conversations", {"items": [HI] * 21}, 400),
        ("POST", "/v1/conversations", b"{", 400),
        ("POST", "/v1/conversations/conv_none/items", {"items": [HI]}, 404),
        ("DELETE", "/v1/conversations/conv\0", None, 400),
    ],
)
def test_what_cannot_be_done_is_said(
    api: Api, method: str, path: str, body: Any, status: int
) -> None:
    answer = api.call(method, path, body)
    assert answer.status == status, answer.body
    assert answer.error()["message"]


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"content": "hi"}, "role"),
        ({"role": "user"}, "content"),
        ({"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}, "content[0]"),
        ({"type": "function_call_output", "output": "x"}, "call_id"),
        ({"type": "function_call", "call_id": "c", "arguments": "{}"}, "name"),
        ({"type": "mcp_call", "name": "n", "server_label": "s"}, "arguments"),
    ],
)
def test_what_no_answer_could_go_on_from_is_not_added(
    api: Api, wrong: dict[str, Any], param: str
) -> None:
    id = api.call("POST", "/v1/conversations", {"items": [HI]}).json()["id"]
    for path in ("/v1/conversations", f"/v1/conversations/{id}/items"):
        refused = api.call("POST", path, {"items": [HI, wrong]})
        assert (refused.status, refused.error()["param"]) == (400, f"items[1].{param}")
    assert respond(api, conversation=id).status == 200


def test_a_conversation_that_is_not_there_is_no_answers(api: Api) -> None:
    answer = respond(api, conversation="conv_none")
    assert (answer.status, answer.error()["code"]) == (404, "conversation_not_found")
    assert not api.engine.calls


NOW = datetime.now(UTC)
Use = Callable[[Conversations], Awaitable[None]]


def item(id: str) -> dict[str, Any]:
    return {"id": id, "type": "message", "role": "user", "content": id}


class ConversationsConformance:
    def use(self, work: Use) -> None:
        raise NotImplementedError

    def test_items_keep_their_order_and_are_there_once(self) -> None:
        async def work(store: Conversations) -> None:
            await store.create(Conversation("c", "t", NOW, {"a": "b"}), [item("1"), item("2")])
            await store.add("t", "c", [item("3"), item("2")], user="ada")
            assert [one["id"] for one in await store.items("t", "c")] == ["1", "2", "3"]
            page = await store.page("t", "c", limit=2, after=None, newest=True)
            assert ([one["id"] for one in page.items], page.more) == (["3", "2"], True)
            page = await store.page("t", "c", limit=2, after="2", newest=True)
            assert ([one["id"] for one in page.items], page.more) == (["1"], False)
            await store.delete_item("t", "c", "2")
            assert [one["id"] for one in await store.items("t", "c")] == ["1", "3"]
            changed = await store.update("t", "c", {})
            assert (changed.id, changed.metadata) == ("c", {})

        self.use(work)

    def test_it_is_its_tenants_only(self) -> None:
        async def work(store: Conversations) -> None:
            await store.create(Conversation("c", "t", NOW, {}), [item("1")])
            for call in (
                store.read("other", "c"),
                store.items("other", "c"),
                store.add("other", "c", [item("2")]),
                store.update("other", "c", {"a": "b"}),
                store.delete("other", "c"),
                store.read_item("other", "c", "1"),
                store.delete_item("other", "c", "1"),
                store.page("other", "c", limit=1, after=None, newest=False),
            ):
                with pytest.raises(UnknownConversation):
                    await call
            for lacking in (
                store.read_item("t", "c", "none"),
                store.delete_item("t", "c", "none"),
                store.page("t", "c", limit=1, after="none", newest=False),
            ):
                with pytest.raises(UnknownItem):
                    await lacking
            await store.delete("t", "c")
            with pytest.raises(UnknownConversation):
                await store.read("t", "c")

        self.use(work)


class TestMemory(ConversationsConformance):
    def use(self, work: Use) -> None:
        asyncio.run(work(MemoryConversations()))


def use_store(dsn: str, work: Callable[[ConversationStore, Pool], Awaitable[None]]) -> None:
    async def scenario() -> None:
        pool = await open_pool(dsn)
        try:
            await work(ConversationStore(pool), pool)
        finally:
            await pool.close()

    asyncio.run(scenario())


class TestPostgres(ConversationsConformance):
    @pytest.fixture(autouse=True)
    def _where(self, database_dsn: str) -> None:
        self.dsn = database_dsn

    def use(self, work: Use) -> None:
        use_store(self.dsn, lambda store, pool: work(store))


def test_who_is_forgotten_is_in_no_conversation(database_dsn: str) -> None:
    async def work(store: ConversationStore, pool: Pool) -> None:
        for id, user in (("a", "ada"), ("b", "bob")):
            await store.create(Conversation(id, "t", NOW, {}), [item("1")])
            await store.add("t", id, [item("2")], user=user)
        async with pool.connection() as conn:
            await forget(conn, "t", "ada")
        with pytest.raises(UnknownConversation):
            await store.read("t", "a")
        assert len(await store.items("t", "b")) == 2

    use_store(database_dsn, work)


def test_who_is_forgotten_while_being_answered_is_in_no_conversation(database_dsn: str) -> None:
    async def work(store: ConversationStore, pool: Pool) -> None:
        await store.create(Conversation("c", "t", NOW, {}), [item("1")])
        asked = datetime.now(UTC)
        async with pool.connection() as conn:
            await forget(conn, "t", "ada")
        await store.add("t", "c", [item("2")], user="ada", asked=asked)
        await store.add("t", "c", [item("3")], user="bob", asked=asked)
        assert [one["id"] for one in await store.items("t", "c")] == ["1", "3"]

    use_store(database_dsn, work)


def test_forgetting_waits_for_what_is_being_added(database_dsn: str) -> None:
    announced = "select exists (select from forgotten)"

    async def work(store: ConversationStore, pool: Pool) -> None:
        await store.create(Conversation("c", "t", NOW, {}), [])

        async def forget_ada() -> None:
            async with pool.connection() as conn:
                await forget(conn, "t", "ada")

        async with pool.connection() as adding, adding.transaction():
            await adding.execute(ADD, ("c", "1", "ada", NOW, Jsonb(item("1")), None, NOW))
            forgetting = asyncio.create_task(forget_ada())
            async with pool.connection() as conn:
                while await (await conn.execute(announced)).fetchone() != (True,):
                    await conn.rollback()
            await asyncio.sleep(0.5)
            assert not forgetting.done()
        await forgetting
        with pytest.raises(UnknownConversation):
            await store.read("t", "c")

    use_store(database_dsn, work)


def test_old_ones_expire_and_long_ones_are_refused(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(store: ConversationStore, pool: Pool) -> None:
        old = NOW - timedelta(days=40)
        await store.create(Conversation("old", "t", old, {}), [])
        await store.create(Conversation("used", "t", old, {}), [item("1")])
        assert await ResponseStore(pool).expire(30) == 1
        assert len(await store.items("t", "used")) == 1
        monkeypatch.setattr(conversations, "LONGEST", 2)
        with pytest.raises(ConversationTooLong):
            await store.add("t", "used", [item("2"), item("3")])
        with pytest.raises(ConversationTooLong):
            await store.check_room("t", "used", [item("2")])  # and an answer
        await store.check_room("t", "used", [item("1")])
        monkeypatch.setattr(conversations, "LARGEST", 200)
        with pytest.raises(ConversationTooLong):
            await store.check_room("t", "used", [item("1"), item("2" * 200)])
        assert len(await store.items("t", "used")) == 1

    use_store(database_dsn, work)


def test_items_are_added_with_their_response_or_not_at_all(database_dsn: str) -> None:
    def stored(id: str, body: dict[str, Any]) -> StoredResponse:
        return StoredResponse(
            id=id, tenant="t", user=None, previous=None, created_at=NOW, input=[], body=body
        )

    async def work(store: ConversationStore, pool: Pool) -> None:
        await store.create(Conversation("c", "t", NOW, {}), [item("1")])
        with pytest.raises(Unstorable):
            await store.add("t", "c", [item("2")], response=stored("r", {"text": "a\0b"}))
        assert len(await store.items("t", "c")) == 1
        await store.add("t", "c", [item("2")], response=stored("r", {"text": "ab"}))
        assert len(await store.items("t", "c")) == 2
        assert await ResponseStore(pool).read("t", "r") == {"text": "ab"}

    use_store(database_dsn, work)
