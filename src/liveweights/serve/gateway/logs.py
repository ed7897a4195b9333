"""Old logs: request, answer and what became of it, one JSON object a line, as rows of the record.

The answers are read as the gateway reads them when they pass: nothing is guessed, so an answer
has token ids and log-probabilities only where the log has them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw
from starlette.datastructures import Headers

from liveweights.http.errors import ApiError
from liveweights.http.wire import StoredName, StoredText
from liveweights.meter.keys import Client
from liveweights.record.clean import InvalidRow, check_feedback, clean_generation
from liveweights.record.feedback import Feedback, Signal
from liveweights.record.generation import Generation
from liveweights.serve.api.caller import identify
from liveweights.serve.api.feedback import FeedbackRequest, make_feedback, read_subject
from liveweights.serve.api.identifiers import identifier
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.gateway.passage import Passage
from liveweights.serve.gateway.question import (
    CHATS,
    COMPLETIONS,
    RECORDED,
    RESPONSES,
    read_question,
)

FIRST = datetime(2015, 1, 1, tzinfo=UTC)
"""Nothing was logged before: an earlier date is a mistake of units or of the clock."""

Moment = Annotated[datetime, Meta(tz=True)]


class LogError(ValueError):
    """A line that cannot be read; the message says what is wrong with it."""


class LoggedFeedback(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """As for ``/v1/feedback``, with the time ``at`` which it came (the answer's, if not given) and
    the ``choice`` that it is about."""

    signal: Signal
    value: float | str | None = None
    text: StoredText | None = None
    id: StoredName | None = None
    at: Moment | None = None
    choice: Annotated[int, Meta(ge=0, le=1000)] = 0


class _Line(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """``request`` and ``response`` are bodies of OpenAI's dialect, the answer whole."""

    created_at: Moment
    request: Raw
    response: Raw
    feedback: list[LoggedFeedback] = []
    id: StoredName | None = None
    user: StoredName | None = None
    session: StoredName | None = None
    surface: StoredName | None = None
    language: StoredName | None = None
    training: bool | None = None


class _Kind(msgspec.Struct):
    """Tells which door the request came through."""

    messages: Any = None
    input: Any = None
    prompt: Any = None


@dataclass(frozen=True, slots=True)
class Logged:
    """What one line comes to: the answer's choices, and the feedback to them."""

    generations: tuple[Generation, ...]
    feedback: tuple[Feedback, ...]


@dataclass(frozen=True, slots=True)
class LogReader:
    """Reads lines for ``tenant``; the answers are recorded under ``alias``, whose cycles learn
    from them, with the checkpoint ``MODEL@import``. Consent is the line's ``training``, else what
    ``settings`` say of the tenant."""

    alias: str
    tenant: str
    settings: ApiSettings

    def read(self, line: bytes) -> Logged:
        """The same line gives the same ids, so that reading it twice is harmless.

        Raises LogError.
        """
        try:
            told = msgspec.json.decode(line, type=_Line)
            generations = tuple(self._generations(told))
            feedback = tuple(self._feedback(told, generations))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, InvalidRow) as error:
            raise LogError(str(error)) from error
        except ApiError as error:
            raise LogError(error.message) from error
        return Logged(generations, feedback)

    def _generations(self, told: _Line) -> Iterator[Generation]:
        try:
            path = _path(told.request)
            question = read_question(bytes(told.request), path)
        except (msgspec.MsgspecError, ApiError) as error:
            raise LogError(f"'request' is not understood: {error}") from error
        if not FIRST <= told.created_at <= datetime.now(UTC):
            raise LogError(f"created_at is {told.created_at}: not a time since 2015")
        named = {"session": told.session, "surface": told.surface, "language": told.language}
        metadata = question.said | {key: value for key, value in named.items() if value}
        if told.training is not None:
            metadata["training"] = "yes" if told.training else "no"
        client = Client(self.tenant)
        caller = identify(Headers(), told.user or question.user, metadata, client, self.settings)
        passage = Passage(question, RECORDED[path], caller)
        passage.add_whole(bytes(told.response))
        parts = (told.request, told.response, msgspec.json.encode((caller.user, caller.session)))
        first = self._id("gen", told, told.id or hashlib.sha256(b"\0".join(parts)).hexdigest())
        found = passage.finish()
        if not found:
            raise LogError("'response' is not an answer of OpenAI's dialect, or it has no choices")
        if passage.unfit:
            names = ", ".join(passage.unfit)
            raise LogError(f"the record cannot hold the values of: {names}")
        for generation in found:
            yield clean_generation(
                replace(
                    generation,
                    id=first + generation.id.removeprefix(passage.id),
                    created_at=told.created_at,
                    alias=self.alias,
                    checkpoint=generation.checkpoint.removesuffix("@upstream") + "@import",
                    # How long it took, the log does not say.
                    first_token_ms=0.0,
                    total_ms=0.0,
                )
            )

    def _feedback(self, told: _Line, answers: tuple[Generation, ...]) -> Iterator[Feedback]:
        places = {self._choice(answer.id): answer for answer in answers}
        for number, said in enumerate(told.feedback):
            answer = places.get(said.choice)
            if answer is None:
                raise LogError(
                    f"feedback {number} is about choice {said.choice}, which is not there"
                )
            at = said.at or told.created_at
            if not told.created_at <= at <= datetime.now(UTC):
                raise LogError(f"feedback {number} came at {at}: not between the answer and now")
            request = FeedbackRequest(
                signal=said.signal,
                generation=answer.id,
                value=said.value,
                text=said.text,
                id=said.id or self._id("fb", told, f"{answer.id} {number}"),
            )
            subject = read_subject(request)
            made = replace(make_feedback(request, subject, self.tenant, None), received_at=at)
            check_feedback(made)
            yield made

    def _choice(self, id: str) -> int:
        return int(id.partition(".")[2] or 0)

    def _id(self, prefix: str, told: _Line, what: str) -> str:
        digest = hashlib.sha256(f"{self.tenant}\0{self.alias}\0{what}".encode()).digest()
        milliseconds = int(told.created_at.timestamp() * 1000)
        return identifier(prefix, milliseconds, int.from_bytes(digest[:10]))


def _path(request: Raw) -> str:
    """Where it was asked."""
    kind = msgspec.json.decode(request, type=_Kind)
    if kind.messages is not None:
        return CHATS
    if kind.input is not None:
        return RESPONSES
    if kind.prompt is not None:
        return COMPLETIONS
    raise LogError("'request' has no 'messages', 'input' or 'prompt'")
