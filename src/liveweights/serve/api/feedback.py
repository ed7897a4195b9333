"""POST /v1/feedback: one reaction, or up to a hundred; 2xx means durable."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Literal, Protocol

import msgspec
from msgspec import Meta
from starlette.datastructures import Headers
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.errors import ApiError, bad_request
from liveweights.http.wire import (
    StoredName,
    StoredText,
    check_text,
    decode,
    read_json,
    reply,
)
from liveweights.meter.limits import Limiter
from liveweights.record.clean import InvalidRow
from liveweights.record.errors import (
    ConflictingFeedback,
    TooManySteps,
    TooMuchFeedback,
    UnknownEpisode,
    UnknownGeneration,
)
from liveweights.record.feedback import MOST_STEPS, Feedback, Signal
from liveweights.record.response import generation_of
from liveweights.serve.api.identifiers import make_id
from liveweights.serve.api.metrics import Metrics
from liveweights.serve.api.objects import FeedbackItem, FeedbackList, FeedbackResult
from liveweights.serve.api.recorder import Recorder
from liveweights.serve.api.settings import ApiSettings

MAX_BATCH = 100
MAX_TEXT = 2**18
OUTCOMES = ("reward", "success", "thumbs", "comment")
"""Signals that can be about a whole episode."""
THUMBS = {"up": 1.0, "down": -1.0}
WITH_TEXT = {
    "edited": "the text that survived of the answer",
    "comment": "the comment",
    "correction": "what the user wrote instead",
}


class FeedbackRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    signal: Signal | Literal["success"]
    generation: StoredName | None = None
    generation_id: StoredName | None = None
    episode: StoredName | None = None
    session: StoredName | None = None
    step: Annotated[int, Meta(ge=0, lt=MOST_STEPS)] | None = None
    value: float | bool | str | None = None
    text: Annotated[StoredText, Meta(max_length=MAX_TEXT)] | None = None
    id: StoredName | None = None


class FeedbackBatch(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    feedback: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_BATCH)]


class _Probe(msgspec.Struct):
    """Tells a batch from a single one; everything else is checked afterwards."""

    feedback: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


@dataclass(frozen=True, slots=True)
class Subject:
    """What a reaction is about: a generation, or the steps of an episode or session; with ``step``
    only that one of them, from 0."""

    generation: str | None = None
    name: str = ""
    session: bool = False
    step: int | None = None


def read_subject(request: FeedbackRequest) -> Subject:
    """Raises ApiError 400 unless the request names exactly one thing that it is about."""
    if request.generation and request.generation_id:
        raise bad_request("Send 'generation' or 'generation_id', not both.", "generation")
    generation = request.generation or request.generation_id
    named = [name for name in (generation, request.episode, request.session) if name]
    if not named:
        message = (
            "Missing required parameter: 'generation', the id of the answer; or 'episode' or"
            " 'session', for all answers of one."
        )
        raise bad_request(message, "generation", "missing_required_parameter")
    if len(named) > 1:
        message = "Send one of 'generation', 'episode' and 'session'."
        raise bad_request(message, "session" if request.session else "episode")
    if generation is not None:
        if request.step is not None:
            raise bad_request("'step' is of an episode or session; leave it out.", "step")
        return Subject(generation_of(generation))
    if request.step is None and request.signal not in OUTCOMES:
        message = (
            f"{request.signal!r} is about one answer; say which 'step', or send one of"
            f" {', '.join(OUTCOMES)}."
        )
        raise bad_request(message, "signal")
    return Subject(None, named[0], session=request.session is not None, step=request.step)


def make_feedback(
    request: FeedbackRequest, subject: Subject, tenant: str, key: str | None
) -> Feedback:
    """Of what is about an episode, the generation is still open. Raises ApiError 400 for what does
    not fit the signal."""
    value, text = _value(request.signal, request.value), _text(request.signal, request.text)
    return Feedback(
        id=request.id or key or make_id("fb"),
        generation=subject.generation or "",
        signal="reward" if request.signal == "success" else request.signal,
        value=value,
        text=text,
        tenant=tenant,
        received_at=datetime.now(UTC),
    )


def spread(feedback: Feedback, subject: Subject, steps: Sequence[str]) -> list[Feedback]:
    """One row for each step that it is about, each with an id of its own, so that sending it again
    is harmless, and reaches steps that were taken since. Raises ApiError 404."""
    if subject.generation is not None:
        return [feedback]
    if subject.step is not None:
        if subject.step >= len(steps):
            message = f"{subject.name!r} has {len(steps)} steps; there is no step {subject.step}."
            raise ApiError(404, message, param="step", code="step_not_found")
        return [replace(feedback, generation=steps[subject.step])]
    return [
        replace(
            feedback, id=f"{feedback.id}/{step}", generation=step, episode=_episode_name(subject)
        )
        for step in steps
    ]


def _episode_name(subject: Subject) -> str:
    return f"session:{subject.name}" if subject.session else subject.name


def _value(signal: Signal | Literal["success"], value: float | bool | str | None) -> float | None:
    if signal == "success":
        if value not in (0, 1) or isinstance(value, str):
            raise bad_request("'success' needs a value of true or false.", "value")
        return 1.0 if value else -1.0
    if isinstance(value, bool):
        raise bad_request(f"The value of {signal!r} is no truth value; send a number.", "value")
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


def _text(signal: str, text: str | None) -> str | None:
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
        key = _idempotency_key(headers)
        body = await read_json(scope, receive, settings.max_body_bytes)
        if decode(body, _Probe).feedback is msgspec.UNSET:
            await self._service.limiter.charge(client, "feedback")
            status, result = await self._record(body, tenant, key, asyncio.Lock())
        else:
            items = decode(body, FeedbackBatch).feedback
            await self._service.limiter.charge(client, "feedback", len(items))
            status, result = await self._record_all(items, tenant, key)
        await reply(send, status, msgspec.json.encode(result))

    async def _record(
        self, body: bytes, tenant: str, key: str | None, spreading: asyncio.Lock
    ) -> tuple[int, FeedbackResult]:
        """What is about an episode or session waits for ``spreading``: it may be a thousand rows.

        Raises ApiError. Status 201 for new feedback, 200 for an identical repeat."""
        count = self._service.metrics.feedback.labels
        try:
            request = decode(body, FeedbackRequest)
            subject = read_subject(request)
            feedback = make_feedback(request, subject, tenant, key)
        except ApiError:
            count("unknown", "invalid").inc()
            raise
        try:
            async with nullcontext() if subject.generation is not None else spreading:
                steps = await self._find_steps(subject, tenant)
                rows = spread(feedback, subject, steps)
                # All end, whatever became of one: what is durable is told as such by a repeat.
                fates = await asyncio.gather(
                    *(self._service.recorder.add_feedback(row) for row in rows),
                    return_exceptions=True,
                )
            for fate in fates:
                if isinstance(fate, BaseException):
                    raise fate
        except InvalidRow as error:
            count(feedback.signal, "invalid").inc()
            raise bad_request(f"{error}.") from None
        except (UnknownGeneration, UnknownEpisode):
            count(feedback.signal, "unknown_generation").inc()
            raise _not_found(feedback, subject) from None
        except ConflictingFeedback:
            count(feedback.signal, "conflict").inc()
            raise _conflict(feedback) from None
        except TooMuchFeedback as error:
            count(feedback.signal, "surplus").inc()
            message = f"This was not kept: {error}."
            raise bad_request(message, "generation", "feedback_limit_reached") from None
        except TooManySteps as error:
            count(feedback.signal, "surplus").inc()
            message = f"This was not kept: {error}; react to its steps one by one."
            raise bad_request(message, "episode", "too_many_steps") from None
        new = any(fates)
        count(feedback.signal, "new" if new else "repeat").inc()
        return (201 if new else 200), _result(feedback, subject, rows)

    async def _find_steps(self, subject: Subject, tenant: str) -> list[str]:
        """Nothing of what is about one answer. Raises UnknownEpisode, TooManySteps."""
        if subject.generation is not None:
            return []
        return await self._service.recorder.steps(tenant, subject.name, session=subject.session)

    async def _record_all(
        self, items: list[msgspec.Raw], tenant: str, key: str | None
    ) -> tuple[int, FeedbackList]:
        """Every item on its own; those about an episode or session one after the other. Not 2xx
        unless all of them are durable."""
        spreading = asyncio.Lock()

        async def one(place: int, item: msgspec.Raw) -> FeedbackItem:
            try:
                own_key = f"{key}/{place}" if key else None
                status, result = await self._record(bytes(item), tenant, own_key, spreading)
            except ApiError as error:
                return FeedbackItem(error.status, error=error.fields())
            return FeedbackItem(
                status,
                result.id,
                result.generation,
                result.signal,
                result.object,
                episode=result.episode,
                session=result.session,
                steps=result.steps,
            )

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


def _result(feedback: Feedback, subject: Subject, rows: Sequence[Feedback]) -> FeedbackResult:
    if subject.generation is not None or subject.step is not None:
        return FeedbackResult(feedback.id, feedback.signal, generation=rows[0].generation)
    return FeedbackResult(
        feedback.id,
        feedback.signal,
        episode=msgspec.UNSET if subject.session else subject.name,
        session=subject.name if subject.session else msgspec.UNSET,
        steps=len(rows),
    )


def _not_found(feedback: Feedback, subject: Subject) -> ApiError:
    if subject.generation is None:
        kind = "session" if subject.session else "episode"
        message = f"No answer of the {kind} {subject.name!r} was given here."
        return ApiError(404, message, param=kind, code=f"{kind}_not_found")
    message = f"No answer with the id {feedback.generation!r} was given here."
    return ApiError(404, message, param="generation", code="generation_not_found")


def _conflict(feedback: Feedback) -> ApiError:
    message = (
        f"Feedback {feedback.id!r} exists already and says something else. "
        "Use a new id for a new reaction."
    )
    return ApiError(409, message, param="id", code="feedback_conflict")
