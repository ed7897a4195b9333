"""Searching documents, opening one, finding a text in it.

What is asked is found by its words (full text, with English endings and without), the more of them
the better; where no passage has any, by its parts of words, which forgives spelling (pg_trgm).
"""

from __future__ import annotations

import asyncio
import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
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
BLOCK = 4096
"""Characters of a text that are looked at one by one."""
WHITE = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace() and code != 32]


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
with words as (
    select lexeme, length(to_tsvector('english', lexeme)) > 0 as telling
    from unnest(to_tsvector('simple', %(query)s))
), asked as (
    select string_agg(quote_literal(lexeme), ' | ')::tsquery as query from (
        select lexeme from unnest(to_tsvector('english', %(query)s)) union
        -- Words like "the" are in almost every passage: they are asked for where there is no other.
        select lexeme from words where telling or not exists (select from words where telling)
    ) as each
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
# The operator, not the function: it is what the index serves.
LIKENESS: LiteralString = "select set_config('pg_trgm.word_similarity_threshold', %(like)s, true)"
PARTS: LiteralString = f"""
select f.name || '/' || d.path, d.title, p.start, p.body
from passages p join documents d on d.id = p.document join document_folders f on f.name = d.folder
where {ALLOWED} and p.body %%> %(query)s
order by word_similarity(%(query)s, p.body) desc, 1, p.start limit %(most)s
"""
ONE: LiteralString = f"""
from documents d join document_folders f on f.name = d.folder
where {ALLOWED} and f.name || '/' || d.path = %(document)s
"""
OPEN: LiteralString = f"""
select f.name || '/' || d.path, d.title, %(start)s::bigint, length(d.body),
    substr(d.body, least(%(start)s::bigint, length(d.body))::int + 1, %(page)s)
{ONE}
"""
READ: LiteralString = f"select d.body {ONE}"


async def search(conn: Connection, query: str, tenant: str) -> list[Passage]:
    """The passages that fit ``query`` best, of folders that ``tenant`` may search."""
    values = {"query": query[:LONGEST], "tenant": tenant, "most": SHOWN}
    rows = await (await conn.execute(WORDS, values)).fetchall()
    if not rows and await _has_trigrams(conn):
        async with conn.transaction():
            await conn.execute(LIKENESS, {"like": str(LIKE)})
            rows = await (await conn.execute(PARTS, values)).fetchall()
    return [Passage(*row) for row in rows]


async def open_document(
    conn: Connection, document: str, tenant: str, *, start: int = 0
) -> Page | None:
    """The part of a document from the character ``start`` on; None where there is no such one."""
    values = {"document": document, "tenant": tenant, "start": start, "page": PAGE}
    row = await (await conn.execute(OPEN, values)).fetchone()
    return None if row is None else Page(*row)


async def find_text(conn: Connection, document: str, text: str, tenant: str) -> list[Find] | None:
    """Where a text stands in a document, as ``places_of`` says. None where there is none such."""
    values = {"document": document, "tenant": tenant}
    row = await (await conn.execute(READ, values)).fetchone()
    if row is None:
        return None
    body: str = row[0]
    places = await asyncio.to_thread(places_of, text, body)
    return [Find(start, body[max(0, start - AROUND) : end + AROUND]) for start, end in places]


def places_of(text: str, body: str) -> list[tuple[int, int]]:
    """Where a text begins and ends in another, small and capital letters alike, and so all white
    space; the first `FINDS` places. Takes the time of both lengths, not of their product."""
    wanted = " ".join(_fold(text).split())
    spaced = _fold(body)
    searched = spaced
    while "  " in searched:
        searched = searched.replace("  ", " ")
    found: list[int] = []
    at = searched.find(wanted) if wanted else -1
    while at >= 0 and len(found) < 2 * FINDS:
        last = at + len(wanted)
        found += [end - searched.count(" ", 0, end) for end in (at + 1, last)]
        at = searched.find(wanted, last)
    places = _places_of_letters(spaced, found)
    return [(start, last + 1) for start, last in zip(places[::2], places[1::2], strict=True)]


def _places_of_letters(text: str, numbers: Sequence[int]) -> list[int]:
    """Where the letters of these numbers stand, of those that are no space, the first being 1."""
    if not numbers:
        return []
    starts = range(0, len(text), BLOCK)
    blocks = (text[start : start + BLOCK] for start in starts)
    counts = list(accumulate((len(block) - block.count(" ") for block in blocks), initial=0))
    places: list[int] = []
    for number in numbers:
        block = bisect_left(counts, number) - 1
        start = starts[block]
        letters = (i for i, c in enumerate(text[start : start + BLOCK], start) if c != " ")
        places.append(next(islice(letters, number - counts[block] - 1, None)))
    return places


def _fold(text: str) -> str:
    """In small letters and with spaces for all white space, each character in its place."""
    # The only ones that have two small letters, or another one at the end of a word.
    text = text.replace("\u0130", "i").lower().replace("\u03c2", "\u03c3")
    for white in WHITE:
        text = text.replace(white, " ")
    return text


async def _has_trigrams(conn: Connection) -> bool:
    query = "select exists (select from pg_extension where extname = 'pg_trgm')"
    row = await (await conn.execute(query)).fetchone()
    return row is not None and bool(row[0])
