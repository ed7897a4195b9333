"""/v1/conversations, as the official client asks: make, read, change, delete, and their items."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from starlette.types import Receive, Scope, Send

from liveweights.http.errors import ApiError, bad_request, unsupported
from liveweights.http.wire import check_storable, read_json, read_query, reply
from liveweights.record.errors import ConversationTooLong, UnknownConversation, UnknownItem
from liveweights.record.response import Conversation
from liveweights.serve.api.answer import Service
from liveweights.serve.api.identifiers import make_id
from liveweights.serve.api.recorder import Conversations
from liveweights.serve.api.request import MetadataKey, MetadataValue
from liveweights.serve.api.responses.items import Item, to_messages, unknown_items
from liveweights.serve.api.responses.kept import reachable, storable
from liveweights.serve.api.unknown import decode_known

MOST_ITEMS = 20
"""That are added at once, as OpenAI has it."""
MOST_SHOWN = 100
PREFIXES = {
    "message": "msg",
    "reasoning": "rs",
    "function_call": "fc",
    "function_call_output": "fco",
    "custom_tool_call": "ctc",
    "custom_tool_call_output": "cto",
}

Metadata = Annotated[dict[MetadataKey, MetadataValue], Meta(max_length=16)]
NewItems = Annotated[list[Item], Meta(max_length=MOST_ITEMS)]


class NewConversation(msgspec.Struct, forbid_unknown_fields=True):
    items: NewItems | None = None
    metadata: Metadata | None = None


class ConversationChange(msgspec.Struct, forbid_unknown_fields=True):
    metadata: Metadata | None = None


class AddedItems(msgspec.Struct, forbid_unknown_fields=True):
    items: NewItems


class ConversationObject(msgspec.Struct):
    id: str
    created_at: int
    metadata: dict[str, str]
    object: Literal["conversation"] = "conversation"


class DeletedConversation(msgspec.Struct):
    id: str
    deleted: bool = True
    object: Literal["conversation.deleted"] = "conversation.deleted"


class ItemList(msgspec.Struct):
    data: list[dict[str, Any]]
    first_id: str | None
    last_id: str | None
    has_more: bool
    object: Literal["list"] = "list"


def make_items(
    given: Sequence[Item], where: str = "items", *, number: Callable[[int], str] | None = None
) -> list[dict[str, Any]]:
    """Items as they are kept: each with an id and a status, a message's text as a part. What has no
    id gets one, with the ``number`` of its place where that is told.

    Raises ApiError 400 for one that no model here can read.
    """
    for at, type in unknown_items(given, where):
        raise unsupported(at, f"Items of type {type[:50]!r} are not supported ({at}).")
    made: list[dict[str, Any]] = []
    for place, item in enumerate(given):
        kept: dict[str, Any] = msgspec.to_builtins(item)
        kept = {name: value for name, value in kept.items() if value is not None}
        kept["type"] = item.type
        prefix = PREFIXES.get(item.type, item.type.partition("_")[0])
        kept["id"] = item.id or (make_id(prefix) if number is None else f"{prefix}_{number(place)}")
        kept.setdefault("status", "completed")
        if item.type == "message" and isinstance(item.content, str):
            part: dict[str, Any] = {"type": "input_text", "text": item.content}
            if item.role == "assistant":
                part |= {"type": "output_text", "annotations": []}
            kept["content"] = [part]
        made.append(storable(kept))
    to_messages(msgspec.convert(made, list[Item]), where)
    return made


@dataclass(frozen=True, slots=True)
class Listing:
    """Which items a query asks for."""

    limit: int
    after: str | None
    newest: bool
    """Whether the newest come first."""


def read_page(scope: Scope) -> Listing:
    """Raises ApiError 400."""
    query = read_query(scope, ("limit", "order", "after"), lists=("include",))
    limit = query.get("limit", "20")
    if not (limit.isascii() and limit.isdecimal() and 1 <= int(limit) <= MOST_SHOWN):
        message = f"'limit' is a number from 1 to {MOST_SHOWN}."
        raise bad_request(message, "limit", "invalid_value")
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise bad_request("'order' is 'asc' or 'desc'.", "order", "invalid_value")
    return Listing(int(limit), query.get("after"), newest=order == "desc")


def show(conversation: Conversation) -> ConversationObject:
    created = int(conversation.created_at.timestamp())
    return ConversationObject(conversation.id, created, conversation.metadata)


def show_items(items: list[dict[str, Any]], more: bool = False) -> ItemList:
    first = items[0]["id"] if items else None
    return ItemList(items, first, items[-1]["id"] if items else None, more)


@contextmanager
def known() -> Generator[None]:
    """Raises ApiError 404 for what is not there, 400 for what is too long, and as ``reachable``."""
    try:
        with reachable():
            yield
    except UnknownConversation as error:
        message = f"No conversation {str(error.args[0])[:100]!r} is stored here."
        raise ApiError(404, message, param="conversation", code="conversation_not_found") from None
    except UnknownItem as error:
        message = f"No item {str(error.args[0])[:100]!r} is in this conversation."
        raise ApiError(404, message, param="item", code="item_not_found") from None
    except ConversationTooLong as error:
        raise bad_request(f"{error}.", "conversation", "invalid_value") from None


class ConversationsEndpoint:
    """All of ``/v1/conversations``: what follows is an id, ``/items``, and an item's id."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        client = await service.authenticator.authenticate(scope, use="answers")
        await service.limiter.charge(client, "reads")
        store = service.conversations
        if store is None:
            message = "This server keeps no conversations."
            raise ApiError(404, message, code="unsupported_endpoint")
        rest: str = scope.get("path_params", {}).get("id", "")
        with known():
            answer = await self._answer(store, client.tenant, rest, scope, receive)
        await reply(send, 200, msgspec.json.encode(answer))

    async def _answer(
        self, store: Conversations, tenant: str, rest: str, scope: Scope, receive: Receive
    ) -> Any:
        method = scope["method"]
        match rest.rstrip("/").split("/"):
            case [""] if method == "POST":
                return await self._create(store, tenant, scope, receive)
            case [id] if id and method == "GET":
                return show(await store.read(tenant, id))
            case [id] if id and method == "DELETE":
                await store.delete(tenant, id)
                return DeletedConversation(id)
            case [id] if id and method == "POST":
                change = await self._read(ConversationChange, scope, receive)
                return show(await store.update(tenant, id, change.metadata or {}))
            case [id, "items"] if method == "GET":
                return await self._list(store, tenant, id, scope)
            case [id, "items"] if method == "POST":
                items = make_items((await self._read(AddedItems, scope, receive)).items)
                await store.add(tenant, id, items)
                return show_items(items)
            case [id, "items", item] if method == "GET":
                return await store.read_item(tenant, id, item)
            case [id, "items", item] if method == "DELETE":
                return show(await store.delete_item(tenant, id, item))
            case _:
                raise ApiError(404, "There is nothing to be done so.", code="not_found")

    async def _create(
        self, store: Conversations, tenant: str, scope: Scope, receive: Receive
    ) -> ConversationObject:
        asked = await self._read(NewConversation, scope, receive)
        made = Conversation(make_id("conv"), tenant, datetime.now(UTC), asked.metadata or {})
        await store.create(made, make_items(asked.items or ()))
        return show(made)

    async def _list(self, store: Conversations, tenant: str, id: str, scope: Scope) -> ItemList:
        asked = read_page(scope)
        page = await store.page(
            tenant, id, limit=asked.limit, after=asked.after, newest=asked.newest
        )
        return show_items(page.items, page.more)

    async def _read(self, type: Any, scope: Scope, receive: Receive) -> Any:
        """Raises ApiError 400, 413, 415."""
        body = await read_json(scope, receive, self._service.settings.max_body_bytes)
        read, _ = decode_known(body or b"{}", type)
        check_storable(msgspec.json.encode(read))
        return read
