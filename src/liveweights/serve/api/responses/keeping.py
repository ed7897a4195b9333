"""Where an answer of /v1/responses is stored, and whether it can be, before it is computed."""

from __future__ import annotations

from typing import Any

import msgspec

from liveweights.http.errors import unsupported
from liveweights.record.response import StoredResponse
from liveweights.serve.api.answer import Service
from liveweights.serve.api.caller import Caller
from liveweights.serve.api.draft import Draft
from liveweights.serve.api.recorder import Conversations
from liveweights.serve.api.responses.conversations import known, make_items
from liveweights.serve.api.responses.items import KINDS, Item
from liveweights.serve.api.responses.kept import reachable, storable
from liveweights.serve.api.responses.request import ResponsesRequest
from liveweights.serve.api.responses.shape import ResponseShape


def conversations_of(service: Service) -> Conversations:
    """Raises ApiError 400 where none are kept."""
    if service.conversations is None:
        raise unsupported("conversation", "This server keeps no conversations.")
    return service.conversations


class Keeper:
    """Stores one answer, and ``new``, which is what was asked, where they are to be."""

    def __init__(
        self, service: Service, request: ResponsesRequest, caller: Caller, new: list[Item]
    ) -> None:
        """Raises ApiError 400."""
        self._caller = caller
        self._new = new
        self._store = None if caller.own or request.store is False else service.responses
        self._conversation = None if caller.own else request.conversation_id()
        self._asked: list[dict[str, Any]] = []
        if self._conversation is not None:
            self._conversations = conversations_of(service)
            # Others are left out, and named.
            asked = [item for item in new if item.type in KINDS]
            self._asked = make_items(asked, "input")

    async def check(self) -> None:
        """Raises ApiError where the answer could not be stored, as far as that is known yet."""
        if self._conversation is not None:
            with known():
                await self._conversations.check_room(
                    self._caller.tenant, self._conversation, self._asked
                )
        elif self._store is not None:
            with reachable():
                await self._store.reach()

    async def keep(self, shape: ResponseShape, draft: Draft) -> None:
        """Store the answer, of which ``draft`` is the first step: in the conversation and by itself
        at once, so that who tries again has added nothing yet. Raises ApiError."""
        response = None if self._store is None else self._stored(shape, draft)
        if self._conversation is not None:
            output: list[dict[str, Any]] = msgspec.to_builtins(shape.response.output)
            with known():
                await self._conversations.add(
                    self._caller.tenant,
                    self._conversation,
                    [*self._asked, *storable(output)],
                    user=self._caller.user,
                    asked=draft.created_at,
                    response=response,
                )
        elif self._store is not None and response is not None:
            with reachable():
                await self._store.add(response)

    def _stored(self, shape: ResponseShape, draft: Draft) -> StoredResponse:
        response = shape.response
        return StoredResponse(
            id=response.id,
            tenant=self._caller.tenant,
            user=self._caller.user,
            previous=response.previous_response_id,
            created_at=draft.created_at,
            input=msgspec.to_builtins(self._new),
            body=storable(msgspec.to_builtins(response)),
        )
