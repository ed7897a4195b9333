"""POST /v1/feedback: one reaction, or up to a hundred; 2xx means durable."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Protocol

import msgspec
from msgspec import Meta
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.errors import ApiError, bad_request
from liveweights.http.wire import (
    StoredName,
    StoredText,
    check_json,
    check_text,
    decode,
    read_body,
    reply,
)
from liveweights.meter.limits import Limiter
from liveweights.record.clean import InvalidRow
from liveweights.record.errors import ConflictingFeedback, TooMuchFeedback, UnknownGeneration
from liveweights.record.feedback import Feedback, Signal
from liveweights.serve.api.identifiers import generation_of, make_id
from liveweights.serve.api.metrics import Metrics
from liveweights.serve.api.objects import FeedbackItem, FeedbackList, FeedbackResult
from liveweights.serve.api.recorder import Recorder
from liveweights.serve.api.settings import ApiSettings

MAX_BATCH = 100
MAX_TEXT = 2**18
THUMBS = {"up": 1.0, "down": -1.0}
WITH_TEXT = {
    "edited": "the text that survived of the answer",
    "comment": "the comment",
    "correction": "what the user wrote instead",
}


class FeedbackRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    signal: Signal
    generation: StoredName | None = None
    generation_id: StoredName | None = None
    value: float | str | None = None
    text: Annotated[StoredText, Meta(max_length=MAX_TEXT)] | None = None
    id: StoredName | None = None


class FeedbackBatch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    feedback: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_BATCH)]


class _Probe(msgspec.Struct):
    """Tells a batch from a single one; everything else is checked afterwards."""

    feedback: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


def make_feedback(request: FeedbackRequest, tenant: str, key: str | None) -> Feedback:
    """Raises ApiError 400 for what does not fit the signal."""
    if request.generation and request.generation_id:
        raise bad_request("Send 'generation' or 'generation_id', not both.", "generation")
    generation = request.generation or request.generation_id
    if generation is None:
        message = "Missing required parameter: 'generation', the id of the answer."
        raise bad_request(message, "generation", "missing_required_parameter")
    return Feedback(
        id=request.id or key or make_id("fb"),
        generation=generation_of(generation),
        signal=request.signal,
        value=_value(request.signal, request.value),
        text=_text(request.signal, request.text),
        tenant=tenant,
        received_at=datetime.now(UTC),
    )


def _value(signal: Signal, value: float | str | None) -> float | None:
    if signal == "thumbs":
        thumb = THUMBS.get(value) if isinstance(value, str) else value
        if thumb not in (-1.0, 1.0):
            raise bad_request("'thumbs' needs a value of 1, -1, 'up' or 'down'.", "value")
        return float(thumb)
    if isinstance(value, str):
        raise bad_request(f"The value of {signal!r} is a number, not text.", "value")
    if signal == "reward" and (value is None or not -1 <= value <= 1):
        raise bad_request("'reward' needs a value from -1 to 1.", "value")
    return value


def _text(signal: Signal, text: str | None) -> str | None:
    meaning = WITH_TEXT.get(signal)
    if meaning is None and text is not None:
        message = f"{signal!r} has no text; send a 'comment' or a 'correction' as well."
        raise bad_request(message, "text")
    if meaning is not None and text is None:
        raise bad_request(f"{signal!r} needs 'text': {meaning}.", "text")
    if signal == "comment" and not text:
        raise bad_request("A comment needs some text.", "text")
    return text


class Desk(Protocol):
    """What taking feedback needs; the API's ``Service`` and the gateway's have it."""

    @property
    def recorder(self) -> Recorder: ...

    @property
    def settings(self) -> ApiSettings: ...

    @property
    def metrics(self) -> Metrics: ...

    @property
    def authenticator(self) -> Authenticator: ...

    @property
    def limiter(self) -> Limiter: ...


class FeedbackEndpoint:
    def __init__(self, service: Desk) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        settings = self._service.settings
        client = await self._service.authenticator.authenticate(scope, use="feedback")
        tenant = client.tenant
        check_json(headers)
        key = _idempotency_key(headers)
        body = await read_body(scope, receive, settings.max_body_bytes)
        if decode(body, _Probe).feedback is msgspec.UNSET:
            await self._service.limiter.charge(client, "feedback")
            status, result = await self._record(body, tenant, key)
        else:
            items = decode(body, FeedbackBatch).feedback
            await self._service.limiter.charge(client, "feedback", len(items))
            status, result = await self._record_all(items, tenant, key)
        await reply(send, status, msgspec.json.encode(result))

    async def _record(
        self, body: bytes, tenant: str, key: str | None
    ) -> tuple[int, FeedbackResult]:
        """Raises ApiError. Status 201 for new feedback, 200 for an identical repeat."""
        count = self._service.metrics.feedback.labels
        try:
            feedback = make_feedback(decode(body, FeedbackRequest), tenant, key)
        except ApiError:
            count("unknown", "invalid").inc()
            raise
        try:
            new = await self._service.recorder.add_feedback(feedback)
        except InvalidRow as error:
            count(feedback.signal, "invalid").inc()
            raise bad_request(f"{error}.") from None
        except UnknownGeneration:
            count(feedback.signal, "unknown_generation").inc()
            raise _not_found(feedback) from None
        except ConflictingFeedback:
            count(feedback.signal, "conflict").inc()
            raise _conflict(feedback) from None
        except TooMuchFeedback as error:
            count(feedback.signal, "surplus").inc()
            message = f"This was not kept: {error}."
            raise bad_request(message, "generation", "feedback_limit_reached") from None
        count(feedback.signal, "new" if new else "repeat").inc()
        result = FeedbackResult(feedback.id, feedback.generation, feedback.signal)
        return (201 if new else 200), result

    async def _record_all(
        self, items: list[msgspec.Raw], tenant: str, key: str | None
    ) -> tuple[int, FeedbackList]:
        """Every item on its own. Not 2xx unless all of them are durable."""

        async def one(place: int, item: msgspec.Raw) -> FeedbackItem:
            try:
                own_key = f"{key}/{place}" if key else None
                status, result = await self._record(bytes(item), tenant, own_key)
            except ApiError as error:
                return FeedbackItem(error.status, error=error.fields())
            return FeedbackItem(status, result.id, result.generation, result.signal, result.object)

        results = await asyncio.gather(*(one(place, item) for place, item in enumerate(items)))
        statuses = [result.status for result in results]
        failed = sum(status >= 400 for status in statuses)
        if not failed:
            return max(statuses), FeedbackList(results)
        message = f"{failed} of {len(items)} were not recorded; 'data' says which and why."
        error = bad_request(message, "feedback", "partly_recorded")
        return 422, FeedbackList(results, error=error.fields())


def _idempotency_key(headers: Headers) -> str | None:
    key = headers.get("idempotency-key")
    if key is not None and not 1 <= len(key) <= 512:
        raise bad_request("'Idempotency-Key' must have 1 to 512 characters.", "idempotency-key")
    check_text(key or "", "'Idempotency-Key'", "idempotency-key")
    return key


def _not_found(feedback: Feedback) -> ApiError:
    message = f"No answer with the id {feedback.generation!r} was given here."
    return ApiError(404, message, param="generation", code="generation_not_found")


def _conflict(feedback: Feedback) -> ApiError:
    message = (
        f"Feedback {feedback.id!r} exists already and says something else. "
        "Use a new id for a new reaction."
    )
    return ApiError(409, message, param="id", code="feedback_conflict")
