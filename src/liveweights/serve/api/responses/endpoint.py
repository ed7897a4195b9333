"""POST /v1/responses"""

from __future__ import annotations

from dataclasses import replace

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.http.errors import bad_request, unsupported
from liveweights.http.exchange import Exchange
from liveweights.record.errors import ConversationTooLong, UnknownResponse
from liveweights.record.generation import EPISODE
from liveweights.record.response import generation_of, response_of
from liveweights.serve.api.admission import admitted, pinned, turn
from liveweights.serve.api.answer import Service, answer
from liveweights.serve.api.caller import Caller
from liveweights.serve.api.chat import prepare
from liveweights.serve.api.messages import Message
from liveweights.serve.api.responses.conversations import known
from liveweights.serve.api.responses.items import Item, to_messages
from liveweights.serve.api.responses.keeping import Keeper, conversations_of
from liveweights.serve.api.responses.kept import reachable
from liveweights.serve.api.responses.objects import make_response
from liveweights.serve.api.responses.references import resolve
from liveweights.serve.api.responses.request import ResponsesRequest
from liveweights.serve.api.responses.shape import ResponseShape
from liveweights.serve.api.responses.steps import answer_with_tools, find_served


class ResponsesEndpoint:
    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with admitted(self._service, ResponsesRequest, scope, receive, send) as admission:
            await self._answer(*admission)

    async def _answer(self, request: ResponsesRequest, caller: Caller, exchange: Exchange) -> None:
        service = self._service
        if service.responses is None:
            request.store = self._without_store(request)
        new = await resolve(request.items(), service.responses, caller.tenant)
        caller = await self._in_episode(request, caller)
        messages = to_messages(await self._earlier(request, caller), "earlier")
        messages += to_messages(new, "input")
        if request.instructions:
            messages.insert(0, Message("system", request.instructions))
        if not messages:
            raise bad_request("'input' is empty: there is nothing to answer.", "input", "empty")
        served = find_served(request, service.agent, exchange)
        keeper = Keeper(service, request, caller, new)
        await keeper.check()
        async with pinned(service, request, caller, exchange) as (model, pin):
            if served and service.agent is not None:
                await answer_with_tools(
                    service,
                    service.agent,
                    request,
                    caller,
                    exchange,
                    model=model,
                    pin=pin,
                    messages=messages,
                    served=served,
                    keep=keeper.keep,
                )
                return
            chat = request.as_chat(messages)
            drafts, toolbox = await prepare(
                service,
                chat,
                caller,
                pin,
                exchange,
                model=model,
                use=request.tool_use(),
                wish=request.wish(),
                param="input",
            )
            (draft,) = drafts
            created = int(draft.created_at.timestamp())
            id = response_of(draft.id)
            response = make_response(request, id, created, pin.checkpoint, draft.id)
            shape = ResponseShape(
                response,
                model.tokenizer,
                toolbox,
                logprobs=request.logprobs,
                summarised=request.summarised,
            )

            async def settle() -> None:
                shape.complete(draft)
                await keeper.keep(shape, draft)

            stream = bool(request.stream)
            async with turn(service, caller, drafts, exchange):
                await answer(service, drafts, shape, exchange, stream=stream, settle=settle)

    async def _earlier(self, request: ResponsesRequest, caller: Caller) -> list[Item]:
        """What was said before this turn. Raises ApiError 400, 503."""
        conversation = request.conversation_id()
        if conversation is not None:
            with known():
                store = conversations_of(self._service)
                said = await store.items(caller.tenant, conversation)
            return msgspec.convert(said, list[Item])
        previous, store = request.previous_response_id, self._service.responses
        if previous is None or store is None:
            return []
        try:
            with reachable():
                items = await store.conversation(caller.tenant, previous)
        except UnknownResponse as error:
            message = f"The response {error.args[0]!r} of this conversation is not stored here."
            code = "previous_response_not_found"
            raise bad_request(message, "previous_response_id", code) from None
        except ConversationTooLong as error:
            code = "invalid_value"
            raise bad_request(f"{error}.", "previous_response_id", code) from None
        return msgspec.convert(items, list[Item])

    async def _in_episode(self, request: ResponsesRequest, caller: Caller) -> Caller:
        """Turns of one conversation are steps of one episode, unless the caller names another."""
        if EPISODE in caller.metadata:
            return caller
        if conversation := request.conversation_id():
            session = caller.session or (None if caller.user else conversation)
            metadata = {**caller.metadata, EPISODE: conversation}
            return replace(caller, session=session, metadata=metadata)
        previous, store = request.previous_response_id, self._service.responses
        if previous is None or store is None:
            return caller
        with reachable():
            try:
                name = await store.episode(caller.tenant, previous)
            except UnknownResponse:
                return caller  # refused where the conversation is read
        session = caller.session or (None if caller.user else generation_of(name))
        return replace(caller, session=session, metadata={**caller.metadata, EPISODE: name})

    def _without_store(self, request: ResponsesRequest) -> bool:
        if request.previous_response_id is not None or request.store:
            name = "store" if request.store else "previous_response_id"
            raise unsupported(name, f"This server keeps no responses; leave {name!r} out.")
        return False
