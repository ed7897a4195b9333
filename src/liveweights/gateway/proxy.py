"""Everything under /v1/ that the gateway does not answer itself: passed on, byte for byte."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from liveweights.api.authentication import Authenticator, Client
from liveweights.api.caller import identify
from liveweights.api.errors import RETRY, ApiError
from liveweights.api.metrics import Metrics
from liveweights.api.recorder import Recorder
from liveweights.api.settings import ApiSettings
from liveweights.api.streaming import send_chunk, while_connected
from liveweights.api.wire import ClientGone, check_json, read_body
from liveweights.gateway.answer import Answer
from liveweights.gateway.headers import from_upstream, to_upstream
from liveweights.gateway.passage import Passage
from liveweights.gateway.question import RECORDED, read_question
from liveweights.gateway.upstream import Upstream, UpstreamAway
from liveweights.record.generation import Surface

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Gateway:
    """What the endpoints share. ``key`` is sent upstream in place of the caller's."""

    upstream: Upstream
    recorder: Recorder
    settings: ApiSettings
    metrics: Metrics
    key: str
    authenticator: Authenticator


class Proxy:
    """Passes a request and its answer, and records it where it is a generation.

    The row joins the record before the client can have the answer's last byte, so that feedback
    may follow at once.
    """

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        client = await self._gateway.authenticator.authenticate(scope)
        endpoint = RECORDED.get(scope["path"]) if scope["method"] == "POST" else None
        if endpoint is None:
            await self._unrecorded(scope, receive, send, headers)
        else:
            await self._recorded(scope, receive, send, headers, client, endpoint)

    async def _unrecorded(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers
    ) -> None:
        declared = headers.get("content-length")
        body = _stream(receive) if declared or "transfer-encoding" in headers else None
        async with (
            self._ask(scope, body, plain=False, length=declared) as answer,
            while_connected(receive),
        ):
            await _start(send, answer)
            ended = False
            while not ended:
                chunk = await answer.part()
                ended = answer.ended
                await send_chunk(send, chunk, more=not ended)

    async def _recorded(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        headers: Headers,
        client: Client,
        endpoint: Surface,
    ) -> None:
        settings = self._gateway.settings
        check_json(headers)
        body = await read_body(scope, receive, settings.max_body_bytes)
        question = read_question(body)
        passage: Passage | None = None
        if question is not None:
            caller = identify(headers, question.user, question.said, client, settings)
            passage = Passage(question, endpoint, caller)
        try:
            async with while_connected(receive), self._ask(scope, body, plain=True) as answer:
                head = answer.head
                if head.status != 200 or "content-encoding" in head.headers:
                    passage = None  # an error, or nothing that can be read
                if passage is None:
                    await _start(send, answer)
                    await send_chunk(send, await answer.whole(), more=False)
                elif head.content_type == "text/event-stream":
                    await self._pass_events(answer, send, passage)
                else:
                    await self._pass_whole(answer, send, passage)
        finally:
            if passage is not None and not passage.recorded:  # cut short, by either side
                await self._record(passage)

    async def _pass_events(self, answer: Answer, send: Send, passage: Passage) -> None:
        await _start(send, answer, passage.id)
        ended = False
        while not ended:
            chunk = await answer.part()
            ended = answer.ended
            passage.add_chunk(chunk)
            if (ended or passage.transcript.done) and not passage.recorded:
                await self._record(passage)
            await send_chunk(send, chunk, more=not ended)

    async def _pass_whole(self, answer: Answer, send: Send, passage: Passage) -> None:
        body = await answer.whole()
        passage.add_whole(body)
        await self._record(passage)
        await _start(send, answer, passage.id)
        await send_chunk(send, body, more=False)

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
        if gateway.settings.keys and not gateway.key:
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

    async def _record(self, passage: Passage) -> None:
        passage.recorded = True
        metrics = self._gateway.metrics
        for generation in passage.finish():
            metrics.generations.labels(
                generation.alias, generation.checkpoint, generation.finish_reason
            ).inc()
            await self._gateway.recorder.add_generation(generation)
        for kind in ("prompt", "completion"):
            count = passage.transcript.usage.get(f"{kind}_tokens", 0)
            metrics.tokens.labels(passage.model, kind).inc(count)


async def _start(send: Send, answer: Answer, generation: str | None = None) -> None:
    headers = from_upstream(answer.head.raw_headers)
    if generation is not None:
        headers.append((b"x-generation-id", generation.encode()))
    status = answer.head.status
    await send({"type": "http.response.start", "status": status, "headers": headers})


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


def _away(error: UpstreamAway) -> ApiError:
    return ApiError(
        502,
        f"The server behind this gateway does not answer: {error}.",
        type="server_error",
        code="upstream_unavailable",
        headers=RETRY,
    )
