"""The page of what people changed."""

from __future__ import annotations

import msgspec

from liveweights.access.audit import Entry, read_entries
from liveweights.console.cursor import PARAM, ROWS, cut_page, read_number
from liveweights.console.subject import Asked, Subject
from liveweights.store.database import Connection


class Audit(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list, newest first; ``next`` is where the next one begins, None at the end."""

    entries: tuple[Entry, ...]
    next: str | None


async def read_audit(conn: Connection, subject: Subject, asked: Asked) -> Audit:
    """GET /audit and GET /audit.json"""
    one_more = await read_entries(conn, read_number(asked.get(PARAM)), ROWS + 1)
    shown, following = cut_page(one_more, ROWS, lambda entry: str(entry.id))
    return Audit(entries=shown, next=following)
