"""The page where a model is talked to, and told what its answers were worth."""

from __future__ import annotations

import msgspec

from liveweights.console.subject import Asked, Subject
from liveweights.store.database import Connection


class Playground(msgspec.Struct, frozen=True, kw_only=True):
    """Who can be asked: a model by its public name, or one of its ``checkpoints``, those that
    answer under it now. ``keyed``: requests need a key of the API."""

    model: str
    checkpoints: tuple[str, ...]
    keyed: bool


async def read_playground(conn: Connection, subject: Subject, asked: Asked) -> Playground:
    """GET /playground and GET /playground.json"""
    cursor = await conn.execute(
        "select live, canary from standing where alias = %s", (asked.model,)
    )
    row = await cursor.fetchone() or ()
    return Playground(
        model=asked.model,
        checkpoints=tuple(one for one in row if one is not None),
        keyed=asked.keyed,
    )
