"""What may write, and what the audit calls it."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from tests.audit import read_audit

import liveweights
from liveweights.access.actions import ACTIONS
from liveweights.access.audit import Event, carry_out
from liveweights.meter.rights import Rights
from liveweights.store.database import Connection

ROOT = Path(liveweights.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"


def test_a_change_and_its_row_are_one_transaction(database_dsn: str) -> None:
    async def rename(conn: Connection, name: str) -> tuple[str, Event | None]:
        await conn.execute("insert into console_users (name, role) values (%s, 'viewer')", (name,))
        details = {"day": date(2026, 2, 1), "rights": Rights(models=("m",)), "by": "eve"}
        return name, Event("add user", name, details) if name != "quiet" else None

    async def go() -> list[str]:
        async with await Connection.connect(database_dsn) as conn:
            for name in ("ada", "quiet"):
                given = await carry_out(conn, "bob", lambda conn, name=name: rename(conn, name))
                assert given == name
            await conn.execute("alter table audit add check (target <> 'carl')")
            with pytest.raises(Exception, match="audit_target_check"):
                await carry_out(conn, "bob", lambda conn: rename(conn, "carl"), {"by": "bob"})
            cursor = await conn.execute("select name from console_users order by name")
            return [name for (name,) in await cursor.fetchall()]

    began = datetime.now(UTC)
    assert asyncio.run(go()) == ["ada", "quiet"]
    (entry,) = read_audit(database_dsn)
    assert (entry.actor, entry.action, entry.target) == ("bob", "add user", "ada")
    assert (entry.details["day"], entry.details["rights"]["models"]) == ("2026-02-01", ["m"])
    assert entry.at >= began


def writing() -> Iterator[tuple[str, str]]:
    """(module, function) of every connection that is taken to write."""
    for file in ROOT.rglob("*.py"):
        for function in ast.walk(ast.parse(file.read_text())):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.keyword) and ast.unparse(node) == "writes=True":
                        yield str(file.relative_to(ROOT)), function.name


def test_where_a_connection_is_taken_to_write_the_audit_is_thought_of() -> None:
    """Postgres refuses what all others would write; what these commands write is looked at in
    ``cli/test_audit.py``."""
    assert {place for place in writing() if place[0] != "console/pages.py"} == {
        ("serve/admin/routes.py", "_change"),
        ("cli/context.py", "write"),
        ("cli/gate.py", "gate"),
        ("cli/scoreboard.py", "run"),
    }
    assert {name for file, name in writing() if file == "console/pages.py"} == {"_take", "take"}


def test_every_action_is_told() -> None:
    told = (DOCS / "console.md").read_text()
    assert [action for action in ACTIONS if f"`{action}`" not in told] == []
    assert len(set(ACTIONS)) == len(ACTIONS)
