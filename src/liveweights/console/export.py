"""A selection of answers as lines of JSON, written while it is read: whole answers, with all that
was said of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import datetime

import msgspec
from starlette.types import Send

from liveweights.console.answers import Reaction, read_answers
from liveweights.console.cursor import PARAM
from liveweights.console.headers import HEADERS
from liveweights.console.subject import Asked, Subject
from liveweights.http.streaming import send_chunk
from liveweights.record.listing import Listed
from liveweights.store.database import Connection
from liveweights.store.partitions import day_of

MOST = 10_000
"""Answers of one export."""
LOOKS = 400
"""Pages that are read for it, also where little is met on them."""


class Exported(msgspec.Struct, frozen=True, kw_only=True):
    """One line."""

    id: str
    created_at: datetime
    checkpoint: str
    endpoint: str
    tenant: str
    user: str | None
    session: str | None
    prompt: str | None
    output: str
    reasoning: str
    finish_reason: str
    output_tokens: int
    first_token_ms: float
    total_ms: float
    feedback: tuple[Reaction, ...]


class Rest(msgspec.Struct, frozen=True):
    """The last line where there is more: ``next`` is where another export goes on, as
    ``before``."""

    next: str


WHOLE = "select id, prompt, output, reasoning from answers where day = any(%s) and id = any(%s)"
SAID = """
select generation, id, signal, value, text, received_at from reactions
where day = any(%s) and generation = any(%s) order by seq
"""


async def read_lines(
    connect: Callable[[], AbstractAsyncContextManager[Connection]], subject: Subject, asked: Asked
) -> AsyncGenerator[bytes]:
    """The lines of each page of the list that ``asked`` asks for. Raises ApiError 400."""
    written = 0
    for _ in range(LOOKS):
        async with connect() as conn:
            page = await read_answers(conn, subject, asked)
            whole = await _read_whole(conn, page.answers)
        yield b"".join(msgspec.json.encode(one) + b"\n" for one in whole)
        written += len(whole)
        if page.next is None:
            return
        asked = replace(asked, query={**asked.query, PARAM: page.next})
        if written >= MOST:
            break
    yield msgspec.json.encode(Rest(asked.query[PARAM])) + b"\n"


async def _read_whole(conn: Connection, answers: Sequence[Listed]) -> list[Exported]:
    ids = [one.id for one in answers]
    days = sorted({day_of(id_) for id_ in ids})
    cursor = await conn.execute(WHOLE, (days, ids))
    texts = {id_: texts for id_, *texts in await cursor.fetchall()}
    feedback: dict[str, list[Reaction]] = {}
    cursor = await conn.execute(SAID, (days, ids))
    for about, id_, signal, value, text, at in await cursor.fetchall():
        reaction = Reaction(id=id_, signal=signal, value=value, text=text, received_at=at)
        feedback.setdefault(about, []).append(reaction)
    return [
        Exported(
            id=one.id,
            created_at=one.created_at,
            checkpoint=one.checkpoint,
            endpoint=one.endpoint,
            tenant=one.tenant,
            user=one.user,
            session=one.session,
            prompt=texts[one.id][0],
            output=texts[one.id][1],
            reasoning=texts[one.id][2],
            finish_reason=one.finish_reason,
            output_tokens=one.output_tokens,
            first_token_ms=one.first_token_ms,
            total_ms=one.total_ms,
            feedback=tuple(feedback.get(one.id, ())),
        )
        for one in answers
        if one.id in texts  # else it was removed meanwhile
    ]


async def send_lines(send: Send, lines: AsyncGenerator[bytes]) -> None:
    """As a response; what is wrong with the question is raised before it begins."""
    first = await anext(lines)
    head = [
        (b"content-type", b"application/jsonl"),
        (b"content-disposition", b'attachment; filename="answers.jsonl"'),
        *HEADERS,
    ]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send_chunk(send, first)
    async for more in lines:
        await send_chunk(send, more)
    await send_chunk(send, b"", more=False)
