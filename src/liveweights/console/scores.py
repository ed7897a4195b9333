"""The page of scores: every suite that was asked, who is ahead, and who is tied."""

from __future__ import annotations

import asyncio

import msgspec

from liveweights.console.subject import Asked, Subject
from liveweights.scoreboard.pages import notes, rows
from liveweights.scoreboard.rows import read_live, read_scored
from liveweights.scoreboard.table import Table, make_tables
from liveweights.store.database import Connection


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A table, the same as rows of texts (`scoreboard.pages.COLUMNS`), and what a reader has to
    know, a sentence each."""

    table: Table
    rows: list[dict[str, object]]
    notes: list[str]


class Scores(msgspec.Struct, frozen=True, kw_only=True):
    """All tables of all models, by suite; ``model`` is that of the navigation."""

    model: str
    tables: tuple[Shown, ...]


async def read_scoreboard(conn: Connection, subject: Subject, asked: Asked) -> Scores:
    """GET /scoreboard and GET /scoreboard.json"""
    # All pairs of all tables take a while, and others are to be answered meanwhile.
    scored, live = await read_scored(conn), await read_live(conn)
    tables = await asyncio.to_thread(make_tables, scored, live=live)
    shown = [Shown(table=one, rows=rows([one]), notes=notes(one)) for one in tables]
    return Scores(model=asked.model, tables=tuple(shown))
