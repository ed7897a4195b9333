"""The tools, asked by the official client over standard input and output."""

from __future__ import annotations

import asyncio
import json
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
from tests.agentdb.conftest import SETTINGS

from liveweights.agentdb import attach
from liveweights.agentdb.service import Databases

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
            long = "select ('a' || repeat('x', 1000000) || 'z')::int"
            refused = await call(one, "run_sql", name="mine", sql=long)
            assert "22P02: invalid input syntax" in refused
            assert "characters are cut" in refused
            assert refused.endswith('xz"')
            assert len(refused) < 10_000

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


ODD = """
select 'infinity'::timestamptz, '20000-01-01'::date, 'infinity'::interval, 'NaN'::float8,
    (repeat('[', 6000) || repeat(']', 6000))::jsonb, 9007199254740993,
    '[1.00000000000000000001]'::jsonb, '\\x00'::bytea, '[2:2]={1}'::int[], row(1, 'a'),
    '{"a": {"b": [1, null]}}'::jsonb
"""
FOUND = [
    *("infinity", "20000-01-01", "infinity", "NaN", "[" * 6000 + "]" * 6000, "9007199254740993"),
    *("[1.00000000000000000001]", "\\x00", "[2:2]={1}", "(1,a)", {"a": {"b": [1, None]}}),
]


def test_whatever_postgres_holds_reaches_the_agent_or_it_is_told_why(agents_folder: Path) -> None:
    async def work() -> None:
        async with client(agents_folder, "odd") as odd:
            await call(odd, "create_database", name="a")
            try:
                (found,) = await call(odd, "run_sql", name="a", sql=ODD)
                assert found["rows"] == [FOUND]
                for sql, why in (
                    ("select 'x'\0; drop table t", "is NUL, which Postgres cannot hold"),
                    ("set client_encoding = 'LATIN1'; select 'é'", "change client_encoding"),
                ):
                    assert why in await call(odd, "run_sql", name="a", sql=sql)
                (_, latin) = await call(
                    odd, "run_sql", name="a", sql="set client_encoding = 'LATIN1'; select 'e'"
                )
                assert latin["rows"] == [["e"]]
                # A role's own encoding changes nothing of how its statements are read.
                own = "set role none; alter role current_user set client_encoding = 'LATIN1'"
                await call(odd, "run_sql", name="a", sql=own)
                (found,) = await call(odd, "run_sql", name="a", sql="select 'é', length('é')")
                assert found["rows"] == [["é", 1]]
            finally:
                await call(odd, "delete_database", name="a")

    asyncio.run(work())


def request(number: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}


def test_every_request_gets_a_reply(agents_folder: Path) -> None:
    """Also one that cannot be read, such as with half of a surrogate pair."""
    start = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    sql = {"name": "run_sql", "arguments": {"name": "a", "sql": "select 'X'"}}
    ttl = {"name": "create_database", "arguments": {"name": "a", "ttl_seconds": float("inf")}}
    deep = "[" * 5000 + "]" * 5000
    lines = [
        json.dumps(request(1, "initialize", start)),
        json.dumps({"jsonrpc": "2.0", "method": "notifications/initialized"}),
        json.dumps(request(3, "tools/call", sql)).replace("X", r"\ud800"),
        "this is no JSON",
        json.dumps(request(4, "tools/list", {})).replace("{}", deep),
        json.dumps(request(5, "tools/call", ttl)),
        json.dumps(request(6, "tools/list", {})),
    ]

    async def work() -> list[dict[str, Any]]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", COMMAND, "db", "mcp", "--owner", "three", "--home"),
            str(agents_folder.parent),
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=2**20,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        async with asyncio.timeout(120):
            for line in lines:
                process.stdin.write(line.encode() + b"\n")
                await process.stdin.drain()
            replies = [json.loads(await process.stdout.readline()) for _ in lines[1:]]
            process.stdin.close()
            await process.wait()
        return replies

    replies = {reply["id"]: reply for reply in asyncio.run(work())}
    assert set(replies) >= {1, 3, 5, 6, None}
    assert "half of a surrogate pair" in replies[3]["error"]["message"]
    assert "finite number" in replies[5]["result"]["content"][0]["text"]
    assert replies[6]["result"]["tools"]


def test_nobody_poses_as_the_operator(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from liveweights.cli import app

    result = CliRunner().invoke(app, ["db", "mcp", "--owner", "operator", "--home", str(tmp_path)])
    assert result.exit_code == 2
    assert not attach.has_host(tmp_path / "databases")
