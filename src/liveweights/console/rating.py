"""What a rater says of an answer: feedback like any user's, learnt from like it."""

from __future__ import annotations

from functools import partial
from urllib.parse import quote

from liveweights.access.audit import Event
from liveweights.console.forms import Done, Form, Sent
from liveweights.console.subject import Subject, missing
from liveweights.http.errors import ApiError, bad_request
from liveweights.record import read
from liveweights.record.clean import InvalidRow
from liveweights.record.errors import TooMuchFeedback, UnknownGeneration
from liveweights.record.feedback import Feedback
from liveweights.serve.api.feedback import FeedbackRequest, make_feedback
from liveweights.serve.api.feedback import Subject as About
from liveweights.serve.api.recorder import Recorder
from liveweights.store.database import Connection

THUMBS = {"good": "up", "bad": "down"}


async def read_rating(conn: Connection, sent: Sent) -> Feedback:
    """The feedback that a form is: ``good``, ``bad``, ``correction`` or ``comment``. Raises
    ApiError: 400, 404 for an answer that there is not, or that this person does not see."""
    id = sent.fields["id"]
    one = await read.generation(conn, id)
    if one is None or sent.person.tenant not in (None, one.tenant):
        raise missing(f"No answer {id[:128]!r} is on record: it is another's, or was removed.")
    signal, text = sent.text("signal"), sent.get("text")
    match signal:
        case "good" | "bad":
            request = FeedbackRequest(signal="thumbs", generation=id, value=THUMBS[signal])
        case "correction" | "comment":
            request = FeedbackRequest(signal=signal, generation=id, text=text)
        case _:
            message = f"'signal' is {signal[:50]!r}: good, bad, correction or comment."
            raise bad_request(message, "signal")
    return make_feedback(request, About(generation=id), one.tenant, None)


async def keep(recorder: Recorder, feedback: Feedback) -> None:
    """Raises ApiError 400, 404."""
    try:
        await recorder.add_feedback(feedback)
    except UnknownGeneration:
        raise missing(f"No answer {feedback.generation!r} is on record.") from None
    except (InvalidRow, TooMuchFeedback) as error:
        raise ApiError(400, f"This was not kept: {error}.", code="not_kept") from None


def make_form(recorder: Recorder) -> Form:
    """POST /answers/ID."""

    async def rate(conn: Connection, subject: Subject, sent: Sent) -> Done:
        """Raises ApiError as ``read_rating`` and ``keep``."""
        feedback = await read_rating(conn, sent)
        return Done(
            event=Event("rate", sent.fields["id"], {"feedback": feedback.id}),
            place=f"/answers/{quote(sent.fields['id'])}#feedback",
            after=partial(keep, recorder, feedback),
        )

    return Form(
        path="/answers/{id}",
        fields=("signal", "text"),
        do=rate,
        needed="rater",
        tenants=True,
        unkept=("text",),
    )
