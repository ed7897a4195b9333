"""GET and DELETE /v1/responses/{id}, and what it was asked with: /input_items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from liveweights.http.errors import ApiError, bad_request, unsupported
from liveweights.http.wire import reply
from liveweights.record.errors import UnknownResponse
from liveweights.serve.api.answer import Service
from liveweights.serve.api.recorder import Responses
from liveweights.serve.api.responses.conversations import (
    ItemList,
    make_items,
    read_page,
    show_items,
)
from liveweights.serve.api.responses.items import KINDS, Item
from liveweights.serve.api.responses.kept import reachable
from liveweights.serve.api.responses.objects import DeletedResponse


class ResponseEndpoint:
    """One stored response: GET shows it, or what it was asked with; DELETE forgets it."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = await self._service.authenticator.authenticate(scope, use="answers")
        await self._service.limiter.charge(client, "reads")
        rest: str = scope["path_params"]["id"]
        id, _, what = rest.partition("/")
        store = self._service.responses
        try:
            if store is None or "\0" in id:
                raise UnknownResponse(id)
            with reachable():
                body = await _answer(store, client.tenant, id, what, scope)
        except UnknownResponse:
            message = f"No response {id[:100]!r} is stored here."
            raise ApiError(404, message, param="id", code="response_not_found") from None
        await reply(send, 200, msgspec.json.encode(body))


async def _answer(store: Responses, tenant: str, id: str, what: str, scope: Scope) -> Any:
    match scope["method"], what.rstrip("/"):
        case "DELETE", "":
            await store.delete(tenant, id)
            return DeletedResponse(id)
        case "GET" | "HEAD", "":
            if QueryParams(scope.get("query_string", b"")).get("stream", "").lower() == "true":
                message = "A stored response is not streamed again; leave 'stream' out."
                raise unsupported("stream", message)
            return await store.read(tenant, id)
        case "GET" | "HEAD", "input_items":
            return _list(await store.asked(tenant, id), id, scope)
        case "POST", "cancel":
            message = "Responses are not computed in the background: close the connection."
            raise bad_request(message, "id", "unsupported_endpoint")
        case _:
            raise ApiError(404, "There is nothing to be done so.", code="not_found")


def _list(asked: Sequence[dict[str, Any]], id: str, scope: Scope) -> ItemList:
    """Raises ApiError 400, 404."""
    page = read_page(scope)
    given = [item for item in msgspec.convert(asked, list[Item]) if item.type in KINDS]
    # What came without an id is called by its place, so that it is the same at each page.
    items = make_items(
        given, "input", number=lambda place: f"{id.removeprefix('resp_')}i{place:04x}"
    )
    if page.newest:
        items.reverse()
    if page.after is not None:
        places = [place for place, item in enumerate(items) if item["id"] == page.after]
        if not places:
            message = f"No item {page.after[:100]!r} is in the input of this response."
            raise ApiError(404, message, param="after", code="item_not_found")
        items = items[places[0] + 1 :]
    return show_items(items[: page.limit], len(items) > page.limit)
