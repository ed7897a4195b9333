"""The way in, shared by completions and chat: who asks, which checkpoint, does it fit."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TypeVar

from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from liveweights.api.answer import Service
from liveweights.api.caller import Caller, identify, tenant_of
from liveweights.api.errors import bad_request, context_exceeded, model_not_found, unavailable
from liveweights.api.request import GenerationRequest
from liveweights.api.routing import NotReady, Pin, UnknownModel
from liveweights.api.wire import decode, read_body

Request = TypeVar("Request", bound=GenerationRequest)


async def admit(
    service: Service, type: type[Request], scope: Scope, receive: Receive
) -> tuple[Request, Caller]:
    """The checked request and who sent it. Raises ApiError, ClientGone."""
    headers = Headers(scope=scope)
    tenant = tenant_of(headers, service.settings)
    request = decode(await read_body(scope, receive, service.settings.max_body_bytes), type)
    request.check()
    return request, identify(headers, request.user, request.metadata, tenant, service.settings)


@contextmanager
def pinned(service: Service, model: str, caller: Caller) -> Generator[Pin]:
    """One checkpoint, held until the last byte. Raises ApiError 404, 503."""
    try:
        context = service.router.pin(model, caller.sticky)
        pin = context.__enter__()
    except UnknownModel:
        raise model_not_found(model) from None
    except NotReady as error:
        raise unavailable(f"The model cannot answer at the moment: {error}.") from None
    try:
        yield pin
    finally:
        context.__exit__(None, None, None)


def check_prompt(service: Service, prompt_ids: list[int], max_tokens: int, param: str) -> None:
    """Raises ApiError 400 for an empty prompt or one that does not fit the context."""
    if not prompt_ids:
        raise bad_request(f"'{param}' is empty: there is nothing to continue.", param, "empty")
    context = service.engine.context_length
    if len(prompt_ids) + max_tokens > context:
        raise context_exceeded(len(prompt_ids), max_tokens, context, param)
