"""What a rater says of an answer: feedback like any user's, learnt from like it."""

from __future__ import annotations

from collections.abc import Mapping

from liveweights.console.person import Person
from liveweights.console.subject import missing
from liveweights.http.errors import ApiError, bad_request
from liveweights.record import read
from liveweights.record.clean import InvalidRow
from liveweights.record.errors import TooMuchFeedback, UnknownGeneration
from liveweights.record.feedback import Feedback
from liveweights.serve.api.feedback import FeedbackRequest, Subject, make_feedback
from liveweights.serve.api.recorder import Recorder
from liveweights.store.database import Connection

FORM = ("signal", "text")
THUMBS = {"good": "up", "bad": "down"}


async def read_rating(
    conn: Connection, person: Person, id: str, form: Mapping[str, str]
) -> Feedback:
    """The feedback that a form is: ``good``, ``bad``, ``correction`` or ``comment``. Raises
    ApiError: 400, 404 for an answer that there is not, or that this person does not see."""
    one = await read.generation(conn, id)
    if one is None or person.tenant not in (None, one.tenant):
        raise missing(f"No answer {id[:128]!r} is on record: it is another's, or was removed.")
    signal, text = form.get("signal", ""), form.get("text")
    match signal:
        case "good" | "bad":
            request = FeedbackRequest(signal="thumbs", generation=id, value=THUMBS[signal])
        case "correction" | "comment":
            request = FeedbackRequest(signal=signal, generation=id, text=text)
        case _:
            message = f"'signal' is {signal[:50]!r}: good, bad, correction or comment."
            raise bad_request(message, "signal")
    return make_feedback(request, Subject(generation=id), one.tenant, None)


async def rate(recorder: Recorder, feedback: Feedback) -> None:
    """Keep it. Raises ApiError 400, 404."""
    try:
        await recorder.add_feedback(feedback)
    except UnknownGeneration:
        raise missing(f"No answer {feedback.generation!r} is on record.") from None
    except (InvalidRow, TooMuchFeedback) as error:
        raise ApiError(400, f"This was not kept: {error}.", code="not_kept") from None
