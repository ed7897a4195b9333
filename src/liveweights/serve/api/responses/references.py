"""Items of earlier answers that a request names in place of sending them (``item_reference``)."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from liveweights.http.errors import ApiError, bad_request, need, unsupported
from liveweights.record.errors import ConversationTooLong
from liveweights.serve.api.identifiers import response_of_item
from liveweights.serve.api.recorder import Responses
from liveweights.serve.api.responses.items import REFERENCE, Item
from liveweights.serve.api.responses.kept import reachable

LARGEST = 8 * 2**20
"""Bytes of JSON that the items named by one request may have, each time that they are named."""


def is_reference(item: Item) -> bool:
    """Also without a type, as OpenAI's clients may leave it out."""
    return item.type == REFERENCE or (item.id is not None and item == Item(id=item.id))


async def resolve(items: list[Item], store: Responses | None, tenant: str) -> list[Item]:
    """``items`` with those that are only named, which are the tenant's stored answers', put in.

    Raises ApiError 400, 404, 503.
    """
    named = {
        place: need(item.id, f"input[{place}].id")
        for place, item in enumerate(items)
        if is_reference(item)
    }
    if not named:
        return items
    if store is None:
        message = "This server keeps no responses; send the items themselves."
        raise unsupported(f"input[{min(named)}]", message)
    known = await _find(store, tenant, [*named.values()])
    resolved, size = [*items], 0
    for place, id in named.items():
        if id not in known:
            message = (
                f"No item {id[:100]!r} of an answer is stored here (input[{place}]): send it"
                " itself. Answers are kept unless 'store' is false."
            )
            raise ApiError(404, message, param=f"input[{place}].id", code="item_not_found")
        size += len(known[id])
        if size > LARGEST:
            message = f"The items that 'input' names have more than {LARGEST} bytes."
            raise bad_request(message, f"input[{place}]", "invalid_value")
        resolved[place] = msgspec.json.decode(known[id], type=Item)
    return resolved


async def _find(store: Responses, tenant: str, ids: Sequence[str]) -> dict[str, bytes]:
    """The items as JSON, those that are stored."""
    answers = dict.fromkeys(response_of_item(id) for id in ids)
    try:
        with reachable():
            found = await store.outputs(tenant, [id for id in answers if id is not None])
    except ConversationTooLong as error:
        raise bad_request(f"{error}.", "input", "invalid_value") from None
    wanted = frozenset(ids)
    return {item["id"]: msgspec.json.encode(item) for item in found if item["id"] in wanted}
