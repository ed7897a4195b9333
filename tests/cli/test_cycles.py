"""``liveweights cycle --pause`` and ``--resume`` on a database."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from tests.release.test_aliases import A
from typer.testing import CliRunner, Result

from liveweights.access.audit import read_entries
from liveweights.cli import app
from liveweights.config import DATABASE_URL
from liveweights.release import aliases
from liveweights.store.database import open_pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register


def test_learning_is_paused_and_resumed_with_a_trace(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def make() -> None:
        pool = await open_pool(database_dsn)
        async with pool.connection() as conn:
            await register(conn, Checkpoint(A, "base", Path("/")), {})
            await aliases.create(conn, "code", A)
        await pool.close()

    async def audit() -> list[tuple[str, str, str]]:
        pool = await open_pool(database_dsn)
        async with pool.connection() as conn:
            entries = await read_entries(conn, None, 10)
        await pool.close()
        return [(one.actor, one.action, one.target) for one in entries]

    def run(*words: str) -> Result:
        return CliRunner().invoke(app, [*words, "--home", str(tmp_path)])

    asyncio.run(make())
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    paused = run("cycle", "--pause", "a launch")
    assert paused.exit_code == 0, paused.output
    assert "by command: a launch" in paused.stdout
    for words in (("status",), ("cycle",)):
        assert "learning is paused" in run(*words).stdout
    assert json.loads(run("status", "--json").stdout)["paused"]["reason"] == "a launch"
    for words, error in (
        (("--now",), "paused by command: a launch"),
        (("--pause", "again"), "paused already"),
        (("--pause", "again", "--resume"), "not both"),
    ):
        refused = run("cycle", *words)
        assert (refused.exit_code, refused.stdout) == (2, ""), words
        assert error in refused.stderr
    assert run("cycle", "--resume").stdout == "learning goes on\n"
    assert "there is nothing to resume" in run("cycle", "--resume").stderr
    assert asyncio.run(audit()) == [
        ("command", "resume learning", "code"),
        ("command", "pause learning", "code"),
    ]
