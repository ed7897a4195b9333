"""A selection of answers as lines of JSON, written while it is read: whole answers, with all that
was said of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import msgspec
from starlette.types import Receive, Send

from liveweights.console.answers import read_answers
from liveweights.console.cursor import PARAM
from liveweights.console.headers import HEADERS
from liveweights.console.subject import Asked, Subject
from liveweights.console.whole import read_whole
from liveweights.http.streaming import send_chunk, while_connected
from liveweights.store.database import Connection

MOST = 10_000
"""Answers of one export."""
LOOKS = 400
"""Pages that are read for it, also where little is met on them."""


class Rest(msgspec.Struct, frozen=True):
    """The last line where there is more: ``next`` is where another export goes on, as
    ``before``."""

    next: str


async def read_lines(
    connect: Callable[[], AbstractAsyncContextManager[Connection]], subject: Subject, asked: Asked
) -> AsyncGenerator[bytes]:
    """The lines of each page of the list that ``asked`` asks for. Raises ApiError 400."""
    written = 0
    for _ in range(LOOKS):
        async with connect() as conn:
            page = await read_answers(conn, subject, asked)
            whole = await read_whole(conn, page.answers)
        yield b"".join(msgspec.json.encode(one) + b"\n" for one in whole)
        written += len(whole)
        if page.next is None:
            return
        asked = replace(asked, query={**asked.query, PARAM: page.next})
        if written >= MOST:
            break
    yield msgspec.json.encode(Rest(asked.query[PARAM])) + b"\n"


async def send_lines(receive: Receive, send: Send, lines: AsyncGenerator[bytes]) -> None:
    """As a response, until the client goes; what is wrong with the question is raised before it
    begins."""
    head = [
        (b"content-type", b"application/jsonl"),
        (b"content-disposition", b'attachment; filename="answers.jsonl"'),
        *HEADERS,
    ]
    async with while_connected(receive):
        first = await anext(lines)
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send_chunk(send, first)
        async for more in lines:
            await send_chunk(send, more)
        await send_chunk(send, b"", more=False)
