"""Documents as tools, against a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from liveweights.agent.library import Library
from liveweights.agent.tool import ToolError, Toolset
from liveweights.documents.index import add_folder
from liveweights.documents.search import PAGE
from liveweights.store.database import open_pool

from .conformance import ToolsetConformance


@asynccontextmanager
async def opened(dsn: str, folder: Path, tenant: str = "default") -> AsyncGenerator[Toolset]:
    (folder / "rome.md").write_text("# Rome\n\nThe Pantheon stands in Rome.\n")
    (folder / "long.txt").write_text("A long one\n\n" + "word " * PAGE)
    pool = await open_pool(dsn)
    try:
        async with pool.connection() as conn:
            await add_folder(conn, folder, name="guide", tenants=["default"])
        yield Library(pool, tenant)
    finally:
        await pool.close()


class TestLibrary(ToolsetConformance):
    good = ("search", {"query": "Where is the Pantheon?"})
    says = "guide/rome.md"

    @pytest.fixture(autouse=True)
    def _where(self, database_dsn: str, tmp_path: Path) -> None:
        self.dsn, self.folder = database_dsn, tmp_path

    def open(self) -> AbstractAsyncContextManager[Toolset]:
        return opened(self.dsn, self.folder)

    def test_what_is_found_can_be_opened_and_read_to_its_end(self) -> None:
        async def work(toolset: Toolset) -> None:
            (found,) = json.loads(await toolset.call("search", {"query": "pantheon"}))
            assert found["title"] == "Rome"
            assert "stands in Rome" in await toolset.call("open", {"id": found["id"]})
            first = await toolset.call("open", {"id": "guide/long.txt"})
            assert f"open it from {PAGE}]" in first
            rest = await toolset.call("open", {"id": "guide/long.txt", "start": str(5 * PAGE - 9)})
            assert "more characters" not in rest

        self.use(work)

    def test_a_text_is_found_in_a_document(self) -> None:
        async def work(toolset: Toolset) -> None:
            (found,) = json.loads(
                await toolset.call("find", {"id": "guide/rome.md", "text": "pantheon STANDS"})
            )
            assert found["start"] == 12
            nowhere = await toolset.call("find", {"id": "guide/rome.md", "text": "Paris"})
            assert nowhere == "The text does not stand there."
            for tool in ("open", "find"):
                with pytest.raises(ToolError, match="no document"):
                    await toolset.call(tool, {"id": "guide/none", "text": "a"})

        self.use(work)

    def test_another_tenants_folder_is_not_there(self) -> None:
        async def work() -> None:
            async with opened(self.dsn, self.folder, "other") as toolset:
                assert "Nothing fits" in await toolset.call("search", {"query": "pantheon"})
                with pytest.raises(ToolError, match="no document"):
                    await toolset.call("open", {"id": "guide/rome.md"})

        asyncio.run(work())
