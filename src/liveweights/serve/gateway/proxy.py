"""Everything under /v1/ that the gateway does not answer itself: passed on, byte for byte."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator, check_model
from liveweights.http.errors import RETRY, ApiError, bad_request
from liveweights.http.origins import check_origin
from liveweights.http.streaming import while_connected
from liveweights.http.wire import ClientGone, check_json, read_body
from liveweights.meter.keys import Client
from liveweights.meter.limits import Limiter, Permit
from liveweights.record.generation import Surface
from liveweights.serve.api.caller import identify
from liveweights.serve.api.recorder import Recorder
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.gateway.access import Access
from liveweights.serve.gateway.answer import Answer
from liveweights.serve.gateway.counts import Count
from liveweights.serve.gateway.delivery import Delivery, is_readable, pass_on
from liveweights.serve.gateway.headers import from_upstream, to_upstream
from liveweights.serve.gateway.listener import Listener, while_heard
from liveweights.serve.gateway.members import check_members
from liveweights.serve.gateway.metrics import GatewayMetrics
from liveweights.serve.gateway.objects import Target, find_made, find_target
from liveweights.serve.gateway.passage import Passage
from liveweights.serve.gateway.paths import check_path
from liveweights.serve.gateway.question import RECORDED, read_question
from liveweights.serve.gateway.reservation import reserve
from liveweights.serve.gateway.upstream import Upstream, UpstreamAway

log = logging.getLogger(__name__)


_LARGEST_OBJECT = 1 << 20
"""Bytes of an answer that is searched for what was made."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the endpoints share. ``key`` is sent upstream in place of the caller's; ``access`` is
    there where callers' keys are ours, so that the upstream cannot tell them apart. ``count``
    estimates tokens that the upstream does not count."""

    upstream: Upstream
    recorder: Recorder
    settings: ApiSettings
    metrics: GatewayMetrics
    key: str
    authenticator: Authenticator
    limiter: Limiter
    access: Access | None
    count: Count


class Proxy:
    """Passes a request and its answer, and records it where it is a generation.

    The row joins the record before the client can have the answer's last byte, so that feedback
    may follow at once; and whose an object is, before the client can have its id.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._delivery = Delivery(gateway.recorder, gateway.metrics, gateway.access)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = await self._gateway.authenticator.authenticate(scope, use="answers")
        permit = await self._gateway.limiter.begin(client)
        try:
            await self._pass(scope, receive, send, client, permit)
        finally:
            permit.close()

    async def _pass(
        self, scope: Scope, receive: Receive, send: Send, client: Client, permit: Permit
    ) -> None:
        path = scope["raw_path"].decode("latin-1")
        check_path(path)
        access, target = self._gateway.access, Target()
        if access is not None:
            target = await access.admit(client.tenant, scope["method"], path)
        endpoint = RECORDED.get(scope["path"]) if scope["method"] == "POST" else None
        if endpoint is not None:
            await self._recorded(scope, receive, send, client, endpoint, target, permit)
        else:
            if scope["method"] not in ("GET", "HEAD"):
                check_origin(Headers(scope=scope), self._gateway.settings.origins)
            if client.rights.models and scope["method"] not in ("GET", "HEAD"):
                raise _bound(scope["path"])
            if permit.has_budget and scope["method"] == "POST" and find_target(path).computes:
                raise _unpriced(scope["path"])
            await self._unrecorded(scope, receive, send, client.tenant, target)

    async def _unrecorded(
        self, scope: Scope, receive: Receive, send: Send, tenant: str, target: Target
    ) -> None:
        headers, access = Headers(scope=scope), self._gateway.access
        declared = headers.get("content-length")
        body: bytes | AsyncIterable[bytes] | None = None
        if declared or "transfer-encoding" in headers:
            body = _stream(receive)
            if access is not None and access.looks_into(target, scope["path"], headers):
                body, declared = await self._checked(scope, receive, tenant, target), None
        made = target.makes(scope["method"])
        async with (
            self._ask(scope, body, plain=made, length=declared) as answer,
            while_connected(receive),
        ):
            first = b""
            if access is not None and 200 <= answer.head.status < 300:
                if scope["method"] == "DELETE":
                    await access.forget(target)
                if made:
                    first = await answer.whole(_LARGEST_OBJECT)
                    await access.owners.remember(tenant, find_made(first, target))
            await pass_on(answer, from_upstream(answer.head.raw_headers), send, first)

    async def _checked(self, scope: Scope, receive: Receive, tenant: str, target: Target) -> bytes:
        """A body that names no other tenant's objects."""
        access = self._gateway.access
        assert access is not None
        body = await read_body(scope, receive, self._gateway.settings.max_body_bytes)
        named = await access.check_body(tenant, scope["path"], body)
        if target.kind == "batches":
            for kind, id in named:
                if kind == "files":
                    await self._check_batch(scope, tenant, id)
        return body

    async def _check_batch(self, scope: Scope, tenant: str, id: str) -> None:
        """The requests in a batch's file may name objects, too."""
        access = self._gateway.access
        assert access is not None
        place = f"/v1/files/{id}/content"
        asked = {**scope, "method": "GET", "raw_path": place.encode(), "query_string": b""}
        async with self._ask(asked, None, plain=True) as answer:
            if answer.head.status != 200:
                message = f"The file {id} of the batch cannot be read: {answer.head.status}."
                raise bad_request(message, "input_file_id")
            await access.check_batch(tenant, answer.parts())

    async def _recorded(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        client: Client,
        endpoint: Surface,
        target: Target,
        permit: Permit,
    ) -> None:
        gateway, headers = self._gateway, Headers(scope=scope)
        settings = gateway.settings
        check_json(headers)
        body = await read_body(scope, receive, settings.max_body_bytes)
        if gateway.access is not None:
            await gateway.access.check_body(client.tenant, scope["path"], body)
        question = read_question(body, scope["path"])
        question.check()
        if gateway.access is not None or client.rights.models or permit.has_budget:
            check_members(body, gateway.upstream.settings.extras)
        check_model(client, question.model)
        caller = identify(headers, question.user, question.said, client, settings, strict=False)
        passage: Passage | None = Passage(
            question, endpoint, caller, target.kind, count=gateway.count
        )
        await reserve(
            permit,
            question,
            [question.model],
            longest=settings.max_chat_tokens,
            count=gateway.count,
        )
        listener = Listener(send, streams=question.streams, rest=settings.abandoned_seconds)
        try:
            async with (
                while_heard(receive, listener),
                self._ask(scope, body, plain=True) as answer,
            ):
                if not is_readable(answer):
                    passage = None
                passed = from_upstream(answer.head.raw_headers)
                await self._delivery.deliver(answer, passed, listener, passage)
        finally:
            if passage is not None:
                await self._delivery.settle(passage, permit, abandoned=listener.abandoned)

    @asynccontextmanager
    async def _ask(
        self,
        scope: Scope,
        body: bytes | AsyncIterable[bytes] | None,
        *,
        plain: bool,
        length: str | None = None,
    ) -> AsyncGenerator[Answer]:
        """Raises ApiError 502 until the upstream answers; ClientGone when it breaks off."""
        gateway = self._gateway
        target = scope["raw_path"].decode("ascii")
        if scope["query_string"]:
            target += "?" + scope["query_string"].decode("ascii")
        raw = scope["headers"]
        if gateway.settings.asks_for_keys and not gateway.key:
            # The caller's key is one of ours: nobody else is shown it.
            raw = [header for header in raw if header[0] != b"authorization"]
        headers = to_upstream(raw, gateway.key, plain=plain)
        if length is not None:
            headers.append(("content-length", length))
        try:
            async with gateway.upstream.ask(scope["method"], target, headers, body) as answer:
                yield answer
        except UpstreamAway as error:
            raise _away(error) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            log.warning("the upstream broke off its answer to %s: %r", target, error)
            raise ClientGone from error  # the connection is cut, as it was cut for us


async def _stream(receive: Receive) -> AsyncGenerator[bytes]:
    """A request's body as it comes. Raises ClientGone."""
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        more = message.get("more_body", False)
        if part := message.get("body", b""):
            yield part


def _bound(path: str) -> ApiError:
    message = (
        f"This API key is for certain models, and {path[:200]!r} passes without its model being "
        f"looked at; there are {', '.join(RECORDED)}."
    )
    return ApiError(403, message, code="model_not_allowed")


def _unpriced(path: str) -> ApiError:
    message = (
        f"What {path[:200]!r} costs is not known here, and this API key or its tenant has a budget "
        f"or credit to answer for; what is priced are {', '.join(RECORDED)}."
    )
    return ApiError(403, message, code="not_priced")


def _away(error: UpstreamAway) -> ApiError:
    return ApiError(
        502,
        f"The server behind this gateway does not answer: {error}.",
        type="server_error",
        code="upstream_unavailable",
        headers=RETRY,
    )
