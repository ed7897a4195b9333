"""The way in, shared by all that generate: who asks, which checkpoint, does it fit, whose turn."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import msgspec
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from liveweights.http.errors import ApiError, bad_request, too_many, unsupported
from liveweights.http.exchange import Exchange, deadline_of
from liveweights.http.slots import QueueFull
from liveweights.http.wire import ClientGone, check_storable, decode, read_json
from liveweights.serve.api.answer import Service
from liveweights.serve.api.arrival import Arrival, arrival_of
from liveweights.serve.api.caller import Caller, identify
from liveweights.serve.api.draft import Draft
from liveweights.serve.api.needs import read_needs
from liveweights.serve.api.refusals import (
    CONTEXT_EXCEEDED,
    context_exceeded,
    model_not_found,
    unavailable,
)
from liveweights.serve.api.request import BaseRequest
from liveweights.serve.api.unknown import decode_known, header_of
from liveweights.serve.memory.memory import NotLoaded, Share
from liveweights.serve.models import Model
from liveweights.serve.router import NotReady, Pin, UnknownModel
from liveweights.terms.needs import NOTHING
from liveweights.terms.roster import AUTO

STRICT = "x-strict"
LOAD_WAIT = b"x-load-wait-ms"
ANSWERS = {"1": True, "true": True, "0": False, "false": False}

Request = TypeVar("Request", bound=BaseRequest)


@asynccontextmanager
async def admitted(
    service: Service, type: type[Request], scope: Scope, receive: Receive, send: Send
) -> AsyncGenerator[tuple[Request, Caller, Exchange]]:
    """The checked request, who sent it and where to answer.

    The key's limits are asked before anything is read, and what the request takes of them is
    settled afterwards; both once, where a door before this one has let it in. Raises ApiError,
    ClientGone.
    """
    headers = Headers(scope=scope)
    before = arrival_of(scope)
    arrival = before or await _let_in(service, scope, headers)
    client, permit = arrival.client, arrival.permit
    try:
        body = await read_json(scope, receive, service.settings.max_body_bytes)
        strict = _is_strict(headers, service.settings.strict)
        request, ignored = _read(body, type, strict)
        if type.kept:
            check_storable(msgspec.json.encode(request) if ignored else body)
        request.check()
        caller = identify(headers, request.user, request.metadata, client, service.settings)
        yield (
            request,
            caller,
            Exchange(
                receive,
                send,
                arrival.deadline,
                permit,
                names=arrival.names,
                strict=strict,
                ignored=ignored,
            ),
        )
    except ApiError as error:
        if error.code == CONTEXT_EXCEEDED:
            permit.used = max(permit.reserved, permit.read)  # finding out was work
        raise
    finally:
        if before is None:
            permit.close()


async def _let_in(service: Service, scope: Scope, headers: Headers) -> Arrival:
    """Raises ApiError."""
    client = await service.authenticator.authenticate(scope, use="answers", own=True)
    deadline = deadline_of(headers, service.settings.deadline_seconds)
    return Arrival(client, await service.limiter.begin(client), deadline)


def _is_strict(headers: Headers, default: bool) -> bool:
    said = headers.get(STRICT)
    if said is not None and said.lower() not in ANSWERS:
        raise bad_request(f"'{STRICT}' is {said[:50]!r}; say 1 or 0.", STRICT)
    return default if said is None else ANSWERS[said.lower()]


def _read(body: bytes, type: type[Request], strict: bool) -> tuple[Request, list[str]]:
    """The request, and what of it changes nothing. Raises ApiError 400."""
    if not strict:
        request, unknown = decode_known(body, type)
        return request, [*unknown, *request.unmet()]
    request = decode(body, type)
    for name, message in request.unmet().items():
        raise unsupported(name, message)
    return request, []


@asynccontextmanager
async def pinned(
    service: Service, request: BaseRequest, caller: Caller, exchange: Exchange
) -> AsyncGenerator[tuple[Model, Pin]]:
    """The model that answers, which ``request`` names from then on, and one checkpoint of it, held
    until the last byte.

    Of those that may answer it is the first of ours that can. One that is not loaded is waited for,
    and the answer says how long: ``x-load-wait-ms``. Raises ApiError 400, 403, 404, 408, 422, 503,
    ClientGone.
    """
    names = exchange.names or _choose(service, request, caller)
    async with AsyncExitStack() as stack:
        model, pin = await _pin(service, names, caller, exchange, stack=stack)
        request.model = pin.alias
        yield model, pin


def _choose(service: Service, request: BaseRequest, caller: Caller) -> tuple[str, ...]:
    """Raises ApiError 400, 403, 422."""
    needs = read_needs(msgspec.to_builtins(request)) if request.model == AUTO else NOTHING
    return service.choices.choose(caller.client, request.model, request.route, needs)


async def _await_load(share: Share, stack: AsyncExitStack, exchange: Exchange) -> None:
    if share.state == "ready":
        await stack.enter_async_context(share.use())
        return
    async with exchange.waited_for() as watch:
        waited = await stack.enter_async_context(share.use())
        exchange.headers = ((LOAD_WAIT, str(round(1000 * waited)).encode()),)
    if watch.gone:
        raise ClientGone


async def _pin(
    service: Service,
    names: Sequence[str],
    caller: Caller,
    exchange: Exchange,
    *,
    stack: AsyncExitStack,
) -> tuple[Model, Pin]:
    """Raises ApiError 404, 408, 503, ClientGone: of the first name that is no hosted model's."""
    refusal: ApiError | None = None
    tenant = None if caller.own else caller.tenant
    for name in names:
        try:
            choices = service.models.choose(name, caller.sticky, tenant)
        except UnknownModel:
            continue
        for model, checkpoint in choices:
            try:
                async with AsyncExitStack() as attempt:
                    if model.share is not None:
                        await _await_load(model.share, attempt, exchange)
                    pin = attempt.enter_context(
                        model.router.pin(name, caller.sticky, tenant=tenant, checkpoint=checkpoint)
                    )
                    stack.push_async_exit(attempt.pop_all())
                    return model, pin
            except UnknownModel:
                continue
            except (NotReady, NotLoaded) as error:
                told = f"The model cannot answer at the moment: {error}."
                refusal = refusal or unavailable(told)
    raise refusal or model_not_found(names[0])


@asynccontextmanager
async def turn(
    service: Service,
    caller: Caller,
    drafts: Sequence[Draft],
    exchange: Exchange,
    *,
    before: Sequence[Draft] = (),
) -> AsyncGenerator[None]:
    """Hold what the key's limits and the server's slots give, once it is this request's turn.

    Raises ApiError 429 at once where a limit or the queue is full, 408 where the deadline passes
    in the queue, ClientGone. Afterwards the key is charged with what ``drafts`` used, and those
    that the same request had ``before``. The service itself waits behind a full queue, too, and so
    does who had a turn before.
    """
    permit = exchange.permit
    for draft in drafts:
        draft.held = permit.find_price(draft.sold, draft.created_at)
    used, cost = _used(before)
    await permit.reserve(
        used + sum(len(draft.prompt_ids) + draft.sampling.max_tokens for draft in drafts),
        cost + sum(draft.most_cost() for draft in drafts),
    )
    exchange.headers = (*exchange.headers, *header_of(exchange.ignored), *permit.headers())
    patient = caller.own or bool(before)
    try:
        async with _slots(service, len(drafts), caller, exchange, patient=patient):
            yield
    finally:
        charge(exchange, [*before, *drafts])


def charge(exchange: Exchange, drafts: Sequence[Draft]) -> None:
    """The key is charged with what the request's ``drafts`` used, and nothing else."""
    exchange.permit.used, exchange.permit.cost = _used(drafts)


def _used(drafts: Sequence[Draft]) -> tuple[int, int]:
    """Tokens to charge for, and what they cost."""
    return sum(draft.used() for draft in drafts), sum(draft.charged for draft in drafts)


@asynccontextmanager
async def _slots(
    service: Service, count: int, caller: Caller, exchange: Exchange, *, patient: bool
) -> AsyncGenerator[None]:
    slots = service.slots.hold(count, tenant=caller.tenant, patient=patient)
    held = False
    try:
        async with exchange.waited_for() as watch:
            await slots.__aenter__()
            held = True
        if watch.gone:
            raise ClientGone
        yield
    except QueueFull as error:
        raise too_many(f"The server is busy: {error}.", "queue", 2.0, exchange.headers) from None
    finally:
        if held:
            await slots.__aexit__(None, None, None)


def leave_out_guidance(model: Model, request: BaseRequest, exchange: Exchange) -> None:
    """What the engine does not follow, unless it is to refuse it."""
    if not exchange.strict:
        exchange.ignored += request.leave_out_guidance(model.engine.guidance)


def check_prompt(model: Model, prompt_ids: list[int], max_tokens: int, param: str) -> None:
    """Raises ApiError 400 for an empty prompt or one that does not fit the context."""
    if not prompt_ids:
        raise bad_request(f"'{param}' is empty: there is nothing to continue.", param, "empty")
    context = model.engine.context_length
    if len(prompt_ids) + max_tokens > context:
        raise context_exceeded(len(prompt_ids), max_tokens, context, param)
