"""The documents that the operator has added, as tools: search, open, find."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg_pool import PoolTimeout

from liveweights.agent.tool import Listed, ToolError, describe, read_count, read_text
from liveweights.documents.search import Passage, find_text, open_document, search
from liveweights.store.database import Pool

LONGEST = 200
"""Characters of what is looked for."""
TOOLS = (
    describe(
        "search",
        "Search all documents; gives the passages that fit best, each with the id of its document.",
        LONGEST,
        query="What to look for, in a few words.",
    ),
    describe(
        "open",
        "Read a document by its id, from a character on.",
        LONGEST,
        id="The document's id, as search gives it.",
        start="Optional: the character to begin at (number)",
    ),
    describe(
        "find",
        "Find where a text stands in a document.",
        LONGEST,
        id="The document's id, as search gives it.",
        text="The text to find.",
    ),
)


class Library:
    """For the models of one tenant."""

    def __init__(self, pool: Pool, tenant: str) -> None:
        self._pool = pool
        self._tenant = tenant

    async def list(self) -> Listed:
        return Listed(TOOLS)

    async def call(self, name: str, arguments: Mapping[str, Any], /) -> str:
        try:
            match name:
                case "search":
                    return await self._search(read_text(arguments, "query"))
                case "open":
                    start = read_count(arguments, "start", 0)
                    return await self._open(read_text(arguments, "id"), start)
                case "find":
                    text = read_text(arguments, "text")
                    return await self._find(read_text(arguments, "id"), text)
                case _:
                    raise ToolError("the tools are search(query), open(id) and find(id, text)")
        except (psycopg.Error, PoolTimeout) as error:
            raise ToolError("the documents cannot be read at the moment") from error

    async def _search(self, query: str) -> str:
        async with self._pool.connection() as conn:
            found = await search(conn, query, self._tenant)
        if not found:
            return "Nothing fits. Try other words."
        return json.dumps([_show(passage) for passage in found], ensure_ascii=False)

    async def _open(self, id_: str, start: int) -> str:
        async with self._pool.connection() as conn:
            page = await open_document(conn, id_, self._tenant, start=start)
        if page is None:
            raise ToolError(f"there is no document {id_[:200]!r}; search gives the ids")
        end = start + len(page.text)
        rest = f"\n[{page.length - end} more characters: open it from {end}]"
        return f"{page.title}\n\n{page.text}" + (rest if end < page.length else "")

    async def _find(self, id_: str, text: str) -> str:
        async with self._pool.connection() as conn:
            found = await find_text(conn, id_, text, self._tenant)
        if found is None:
            raise ToolError(f"there is no document {id_[:200]!r}; search gives the ids")
        if not found:
            return "The text does not stand there."
        return json.dumps([{"start": f.start, "text": f.text} for f in found], ensure_ascii=False)


def _show(passage: Passage) -> dict[str, Any]:
    return {
        "id": passage.document,
        "title": passage.title,
        "start": passage.start,
        "text": passage.text,
    }
