"""Searching documents, opening one, finding a text in it.

What is asked is found by its words (full text, with English endings and without), the more of them
the better; where no passage has any, by its parts of words, which forgives spelling (pg_trgm).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import LiteralString

from liveweights.store.database import Connection

SHOWN = 5
"""Passages that a search shows."""
PAGE = 8_000
"""Characters of a document that are shown at once."""
FINDS = 10
AROUND = 120
"""Characters on each side of a text that is found."""
LONGEST = 1000
"""Characters of what is searched for."""
LIKE = 0.45
"""Word similarity from which on misspelt words are the same."""


@dataclass(frozen=True, slots=True)
class Passage:
    """``document`` is ``FOLDER/PATH``; ``start`` is the character at which the passage begins."""

    document: str
    title: str
    start: int
    text: str


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a document of ``length`` characters in all."""

    document: str
    title: str
    start: int
    length: int
    text: str


@dataclass(frozen=True, slots=True)
class Find:
    start: int
    text: str


ALLOWED: LiteralString = "(f.tenants = '{}' or %(tenant)s = any(f.tenants))"
WORDS: LiteralString = f"""
with asked as (
    select string_agg(quote_literal(lexeme), ' | ')::tsquery as query
    from unnest(to_tsvector('english', %(query)s) || to_tsvector('simple', %(query)s))
), fitting as (
    select p.document, p.start, p.body, ts_rank_cd(p.words, a.query, 1) as fit,
        (select count(*) from unnest(tsvector_to_array(p.words)) w
            where w = any(tsvector_to_array(to_tsvector('english', %(query)s)))) as hits
    from passages p, asked a where p.words @@ a.query
)
select f.name || '/' || d.path, d.title, t.start, t.body
from fitting t join documents d on d.id = t.document join document_folders f on f.name = d.folder
where {ALLOWED}
order by t.hits desc, t.fit desc, 1, t.start limit %(most)s
"""
PARTS: LiteralString = f"""
select f.name || '/' || d.path, d.title, p.start, p.body
from passages p join documents d on d.id = p.document join document_folders f on f.name = d.folder
where {ALLOWED} and word_similarity(%(query)s, p.body) >= %(like)s
order by word_similarity(%(query)s, p.body) desc, 1, p.start limit %(most)s
"""
OPEN: LiteralString = f"""
select f.name || '/' || d.path, d.title, d.body
from documents d join document_folders f on f.name = d.folder
where {ALLOWED} and f.name || '/' || d.path = %(document)s
"""


async def search(conn: Connection, query: str, tenant: str) -> list[Passage]:
    """The passages that fit ``query`` best, of folders that ``tenant`` may search."""
    values = {"query": query[:LONGEST], "tenant": tenant, "most": SHOWN, "like": LIKE}
    rows = await (await conn.execute(WORDS, values)).fetchall()
    if not rows and await _has_trigrams(conn):
        rows = await (await conn.execute(PARTS, values)).fetchall()
    return [Passage(*row) for row in rows]


async def open_document(
    conn: Connection, document: str, tenant: str, *, start: int = 0
) -> Page | None:
    """The part of a document from the character ``start`` on; None where there is no such one."""
    row = await _read(conn, document, tenant)
    if row is None:
        return None
    name, title, body = row
    return Page(name, title, start, len(body), body[start : start + PAGE])


async def find_text(conn: Connection, document: str, text: str, tenant: str) -> list[Find] | None:
    """Where a text stands in a document, small and capital letters alike; at most `FINDS` places.
    None where there is no such document."""
    row = await _read(conn, document, tenant)
    if row is None:
        return None
    body = row[2]
    pattern = r"\s+".join(map(re.escape, text.split()))
    found: list[Find] = []
    for match in re.finditer(pattern, body, re.IGNORECASE):
        start = max(0, match.start() - AROUND)
        found.append(Find(match.start(), body[start : match.end() + AROUND]))
        if len(found) == FINDS:
            break
    return found


async def _read(conn: Connection, document: str, tenant: str) -> tuple[str, str, str] | None:
    values = {"document": document, "tenant": tenant}
    return await (await conn.execute(OPEN, values)).fetchone()


async def _has_trigrams(conn: Connection) -> bool:
    query = "select exists (select from pg_extension where extname = 'pg_trgm')"
    row = await (await conn.execute(query)).fetchone()
    return row is not None and bool(row[0])
