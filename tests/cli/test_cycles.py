"""``liveweights cycle`` on a database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from socket import gethostname

import psycopg
import pytest
from tests.release.test_aliases import A
from typer.testing import CliRunner, Result

from liveweights.access.audit import read_entries
from liveweights.cli import app
from liveweights.cli.follow import follow_cycle
from liveweights.config import DATABASE_URL
from liveweights.cycle.ledger import lease_of
from liveweights.holder import Holder
from liveweights.release import aliases
from liveweights.store.database import open_pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register


@pytest.fixture
def run(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Result]:
    """Runs a command on a service that has an alias, and no worker."""

    async def make() -> None:
        pool = await open_pool(database_dsn)
        async with pool.connection() as conn:
            await register(conn, Checkpoint(A, "base", Path("/")), {})
            await aliases.create(conn, "code", A)
        await pool.close()

    asyncio.run(make())
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    return lambda *words: CliRunner().invoke(app, [*words, "--home", str(tmp_path)])


IDLE = "no worker runs for 'code'"


def test_a_cycle_that_nobody_takes_on_is_told_as_such(
    run: Callable[..., Result], database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follow_cycle, "__defaults__", (0.0, 0.05))
    assert IDLE in run("status").stdout
    begun = run("cycle", "--now")
    assert (begun.exit_code, begun.stdout.startswith("cycle 1 claiming")) == (0, True)
    assert IDLE in begun.stderr
    followed = run("cycle", "--follow")
    assert followed.exit_code == 3
    assert IDLE in followed.stderr
    for holder, is_there in (
        (Holder.me("home"), True),
        (Holder(pid=2**22 + 1, host=gethostname(), since="", home="gone"), False),
    ):
        with psycopg.connect(database_dsn) as conn:
            conn.execute("delete from leases")
            conn.execute(
                "insert into leases (name, owner, expires) values (%s, %s, now() + interval '1h')",
                (lease_of("code"), holder.encode()),
            )
        assert (IDLE not in run("status").stdout) is is_there
        assert (IDLE not in run("cycle").stderr) is is_there


def test_learning_is_paused_and_resumed_with_a_trace(
    run: Callable[..., Result], database_dsn: str
) -> None:
    async def audit() -> list[tuple[str, str, str]]:
        pool = await open_pool(database_dsn)
        async with pool.connection() as conn:
            entries = await read_entries(conn, None, 10)
        await pool.close()
        return [(one.actor, one.action, one.target) for one in entries]

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
