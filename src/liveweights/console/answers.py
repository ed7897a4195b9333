"""Pages of answers: past ones newest first, and one with all that is known of it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import get_args

import msgspec

from liveweights.console.cursor import ANSWERS, PARAM, cut_page, read_moment, write_moment
from liveweights.console.path import Station, read_path
from liveweights.console.subject import Asked, Subject, missing
from liveweights.http.errors import bad_request
from liveweights.record import read
from liveweights.record.feedback import Signal
from liveweights.record.listing import Listed, Selection, list_answers
from liveweights.record.names import read_model
from liveweights.record.search import SCANNED, Wanted, search_answers
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of

FILTERS = ("checkpoint", "tenant", "user", "session")
WANTED = ("signal", "text", "slower")
_MILLISECONDS = re.compile(r"[0-9]{1,9}", re.ASCII)


class Answers(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list; ``next`` is where the next one begins, None at the end. With a signal, a
    text or a time it is what was met among ``scanned`` answers; there may be more further on."""

    model: str
    chosen: dict[str, str]
    answers: tuple[Listed, ...]
    next: str | None
    scanned: int | None = None
    signals: tuple[str, ...] = get_args(Signal)


class Reaction(msgspec.Struct, frozen=True, kw_only=True):
    """What a user did with an answer, or said of it."""

    id: str
    signal: str
    value: float | None
    text: str | None
    received_at: datetime


class Lesson(msgspec.Struct, frozen=True, kw_only=True):
    """A cycle that claimed the answer: ``use`` is ``train``, or ``held_back`` to judge by."""

    cycle: int
    use: str
    outcome: str | None
    candidate: str | None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. ``likelihood`` is the geometric mean of its tokens' probabilities, None where no
    engine said them; ``prompt`` is None where its tokens cannot be read. ``path`` is empty for
    users of one tenant: it leads to what others said."""

    id: str
    model: str
    checkpoint: str
    created_at: datetime
    path: tuple[Station, ...]
    prompt: str | None
    output: str
    reasoning: str
    finish_reason: str
    withheld: bool
    tenant: str
    user: str | None
    session: str | None
    surface: str
    language: str
    consent: bool
    prompt_tokens: int
    output_tokens: int
    temperature: float
    top_p: float
    seed: int | None
    likelihood: float | None
    first_token_ms: float
    total_ms: float
    feedback: tuple[Reaction, ...]
    lessons: tuple[Lesson, ...]


async def read_answers(conn: Connection, subject: Subject, asked: Asked) -> Answers:
    """GET /answers and GET /answers.json. Raises ApiError 400."""
    filters = {name: value for name in FILTERS if (value := asked.get(name))}
    if asked.tenant is not None:
        filters["tenant"] = asked.tenant
    wanted = {name: value for name in WANTED if (value := asked.get(name))}
    before = read_moment(asked.get(PARAM))
    chosen = Selection(alias=asked.model, **filters, before=before)
    reached = None
    if wanted:
        look = await search_answers(conn, chosen, read_wanted(wanted), ANSWERS + 1)
        one_more, reached = look.answers, look.reached
    else:
        one_more = await list_answers(conn, chosen, ANSWERS + 1)
    shown, following = cut_page(one_more, ANSWERS, lambda one: write_moment(one.created_at, one.id))
    if following is None and reached is not None:
        following = write_moment(*reached)
    return Answers(
        model=asked.model,
        chosen=filters | wanted,
        answers=shown,
        next=following,
        scanned=SCANNED if wanted else None,
    )


def read_wanted(given: Mapping[str, str]) -> Wanted:
    """Raises ApiError 400 for no signal of the API, and for no number of milliseconds."""
    signal, slower = given.get("signal"), given.get("slower")
    signals: tuple[Signal, ...] = get_args(Signal)
    known: Signal | None = next((one for one in signals if one == signal), None)
    if signal is not None and known is None:
        raise bad_request(f"'signal' is {signal[:50]!r}; there are {', '.join(signals)}.", "signal")
    if slower is not None and not _MILLISECONDS.fullmatch(slower):
        raise bad_request(f"'slower' is {slower[:50]!r}; it is whole milliseconds.", "slower")
    return Wanted(
        signal=known, text=given.get("text"), slower=None if slower is None else float(slower)
    )


PROMPT = "select prompt from answers where day = %s and id = %s"
LESSONS = """
select c.cycle, c.split, t.outcome, t.candidate from claimed c join turns t on t.id = c.cycle
where c.day = %s and c.generation = %s group by 1, 2, 3, 4 order by 1
"""


async def read_answer(conn: Connection, subject: Subject, asked: Asked) -> Answer:
    """GET /answers/ID and GET /answers/ID.json. Raises ApiError 404."""
    one = await read.generation(conn, asked.id)
    if one is None or asked.tenant not in (None, one.tenant):
        raise missing(
            f"No answer {asked.id[:128]!r} is on record: it is another's, or was removed."
        )
    reactions = await read.feedback(conn, one.id)
    cursor = await conn.execute(PROMPT, (day_of(one.id), one.id))
    prompt = await cursor.fetchone()
    cursor = await conn.execute(LESSONS, (day_of(one.id), one.id))
    lessons = await cursor.fetchall()
    model = await read_model(conn, one.alias)
    path: tuple[Station, ...] = ()
    if asked.tenant is None:
        path = await read_path(conn, model, one.checkpoint, (one.id, one.created_at))
    return Answer(
        id=one.id,
        model=model,
        checkpoint=one.checkpoint,
        created_at=one.created_at,
        path=path,
        prompt=prompt[0] if prompt else None,
        output=one.output,
        reasoning=one.reasoning,
        finish_reason=one.finish_reason,
        withheld=one.withheld,
        tenant=one.tenant,
        user=one.user,
        session=one.session,
        surface=one.surface,
        language=one.language,
        consent=one.consent,
        prompt_tokens=one.usage.get("prompt_tokens", len(one.prompt_ids)),
        output_tokens=one.usage.get("completion_tokens", len(one.output_ids)),
        temperature=one.temperature,
        top_p=one.top_p,
        seed=one.seed,
        likelihood=likelihood(one.raw_logprobs),
        first_token_ms=one.first_token_ms,
        total_ms=one.total_ms,
        feedback=tuple(
            Reaction(
                id=f.id, signal=f.signal, value=f.value, text=f.text, received_at=f.received_at
            )
            for f in reactions
        ),
        lessons=tuple(
            Lesson(cycle=cycle, use=split, outcome=outcome, candidate=candidate)
            for cycle, split, outcome, candidate in lessons
        ),
    )


def likelihood(logprobs_T: list[float]) -> float | None:
    """The geometric mean of probabilities whose natural logarithms are given; None of none."""
    if not logprobs_T:
        return None
    return math.exp(min(0.0, math.fsum(logprobs_T) / len(logprobs_T)))
