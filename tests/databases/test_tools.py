"""The tools, asked by the official client over standard input and output."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

pytest.importorskip("mcp")
from mcp import Client, StdioServerParameters
from tests.databases.conftest import SETTINGS

from liveweights.databases import attach
from liveweights.databases.service import Databases

COMMAND = "from liveweights.cli import main; main()"


@asynccontextmanager
async def client(folder: Path, owner: str) -> AsyncGenerator[Client]:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-c", COMMAND, "db", "mcp", "--owner", owner, "--home", str(folder.parent)],
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )
    async with Client(server) as connected:
        yield connected


async def call(session: Client, tool: str, **arguments: Any) -> Any:
    result = await session.call_tool(tool, arguments)
    if result.is_error:
        return "".join(getattr(part, "text", "") for part in result.content)
    assert result.structured_content is not None
    return result.structured_content.get("result", result.structured_content)


def test_an_agents_session(agents_folder: Path) -> None:
    async def work() -> None:
        async with Databases(agents_folder, SETTINGS) as operator:
            await operator.create("shop", script="create table t as select 1 as a, now() as b")
            await operator.freeze("shop")
            try:
                await session()
            finally:
                for owner in ("one", "two"):
                    async with Databases(agents_folder, SETTINGS, owner=owner) as databases:
                        for found in await databases.list():
                            await databases.delete(found.name)
                await operator.delete("shop")

    async def session() -> None:
        async with client(agents_folder, "one") as one:
            tools = {tool.name: tool for tool in (await one.list_tools()).tools}
            assert set(tools) == {
                f"{verb}_database" for verb in ("create", "fork", "connect", "pause", "freeze")
            } | {"delete_database", "list_databases", "run_sql"}
            assert all(tool.description and tool.output_schema for tool in tools.values())

            made = await call(one, "fork_database", source="shop", name="mine", ttl_seconds=600)
            assert (made["name"], made["state"], made["level"]) == ("mine", "ready", "open")
            found = await call(
                one,
                "run_sql",
                name="mine",
                sql="insert into t values (2); select a, 1.5::numeric as c, null as d,"
                " '{1}'::int[] as e from t order by a",
            )
            assert found[1] == {
                "status": "SELECT 2",
                "columns": ["a", "c", "d", "e"],
                "rows": [[1, "1.5", None, [1]], [2, "1.5", None, [1]]],
                "truncated": False,
            }
            refused = await call(one, "run_sql", name="mine", sql="delete from t", read_only=True)
            assert refused.endswith("42501: permission denied for table t")
            assert "syntax error" in await call(one, "run_sql", name="mine", sql="selct")

            address = await call(one, "connect_database", name="mine")
            async with await psycopg.AsyncConnection.connect(address["url"]) as conn:
                cursor = await conn.execute("select count(*) from t")
                assert await cursor.fetchone() == (2,)
            assert (await call(one, "pause_database", name="mine"))["state"] == "paused"
            await call(one, "create_database", name="other")
            assert (await call(one, "freeze_database", name="other"))["state"] == "frozen"

            async with client(agents_folder, "two") as two:
                assert await call(two, "list_databases") == []
                assert "no database mine" in await call(two, "run_sql", name="mine", sql="select 1")
                assert await call(two, "delete_database", name="mine") == {"existed": False}
                assert "no database" in await call(two, "fork_database", source="other", name="x")
                assert "may live at most" in await call(
                    two, "create_database", name="x", ttl_seconds=1e8
                )
                for wrong in (
                    {"ttl_seconds": 1e14},
                    {"ttl_seconds": -1},
                    {"size_mb": 10**18},
                    {"size_mb": -1},
                ):
                    refused = await call(two, "create_database", name="x", **wrong)
                    assert "Input should be" in refused, wrong
                assert await call(two, "list_databases") == []

            names = [found["name"] for found in await call(one, "list_databases")]
            assert names == ["mine", "other"]
            assert await call(one, "delete_database", name="mine") == {"existed": True}
            assert await call(one, "delete_database", name="mine") == {"existed": False}
        # The databases outlive the agent's session.
        async with client(agents_folder, "one") as again:
            assert [found["name"] for found in await call(again, "list_databases")] == ["other"]

    asyncio.run(work())


def test_nobody_poses_as_the_operator(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from liveweights.cli import app

    result = CliRunner().invoke(app, ["db", "mcp", "--owner", "operator", "--home", str(tmp_path)])
    assert result.exit_code == 2
    assert not attach.has_host(tmp_path / "databases")
