"""What commands change has one row of the audit each, and no command that changes is forgotten."""

from __future__ import annotations

import ast
import asyncio
import inspect
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
import typer
from tests.audit import read_audit
from tests.cli.test_billing import charge
from tests.meter.test_ledger import tamper
from tests.record.rows import make_feedback, make_generation
from tests.record.test_rollups import timed_id
from tests.record.test_window import record
from tests.release.test_aliases import A, B
from tests.serve.gateway.test_logs import chat
from typer.testing import CliRunner, Result

from liveweights import cli
from liveweights.access.commands import find_user
from liveweights.cli import app
from liveweights.cli.context import query
from liveweights.config import DATABASE_URL, Config
from liveweights.release import aliases
from liveweights.store.database import Connection
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register

SECRET = re.compile(r"lw-[a-z2-7]{8}-[A-Za-z0-9_-]{43}|token=[\w-]+")
OWN = "code@00000000acee"
DAY = datetime(2026, 2, 1, 12, tzinfo=UTC)
SOON = f"{datetime.now(UTC).date() + timedelta(days=2)}"
START = f"canary start {B} --reason r"
OVERRIDE = f"terms override code region --who ada --why contract --until {SOON}"
MANUALS = "documents add FOLDER/manuals"
SCORES = "scoreboard import FOLDER/scores.json --model one --suite swe --source lab"

Ready = Callable[[str, Path], None]


@dataclass(frozen=True)
class Case:
    """A command (FOLDER and KEY stand for the test's), what it does to what, and the commands and
    whatever else came ``before``."""

    words: str
    action: str
    target: str
    before: tuple[str | Ready, ...] = ()


def own_adapter(dsn: str, folder: Path) -> None:
    """Learnt from the tenant acme alone."""
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, base, parent, card, created_at)"
            " values (%s, 'adapter', '/', %s, %s, '{\"tenant\": \"acme\"}', '2020-01-01')",
            (OWN, A, A),
        )
    (folder / "checkpoints" / OWN).mkdir(parents=True)


def charged(dsn: str, folder: Path) -> None:
    charge(dsn)


def yesterday(dsn: str, folder: Path) -> None:
    charge(dsn)
    tamper(dsn, "update ledger set day = day - 1")


def answered(dsn: str, folder: Path) -> None:
    id = timed_id(DAY, 1)
    record(dsn, make_generation(id, created_at=DAY), make_feedback("f", id))


def refused(dsn: str, folder: Path) -> None:
    """One answer that Postgres did not take."""
    with psycopg.connect(dsn) as conn:
        conn.execute("alter table generations add constraint ours check (output <> 'odd')")
    record(dsn, make_generation("g", output="odd"))


CASES = (
    Case("tenants create acme", "create tenant", "acme"),
    Case("tenants set acme --plan pro", "change tenant", "acme", ("tenants create acme",)),
    Case("tenants credit acme 5 --why paid", "add credit", "acme", ("tenants create acme",)),
    Case("tenants remove acme", "remove tenant", "acme", ("tenants create acme",)),
    Case("tenants drop-adapters acme", "drop adapters", "acme", (own_adapter,)),
    Case("keys create acme", "create key", "acme", ("tenants create acme",)),
    *(
        Case(f"keys {do} KEY", f"{do} key", "acme", ("tenants create acme", "keys create acme"))
        for do in ("rotate", "revoke")
    ),
    Case("users add ada --role rater", "add user", "ada"),
    Case("users invite ada", "invite user", "ada", ("users add ada",)),
    Case("users set ada --role operator", "change user", "ada", ("users add ada",)),
    Case("users remove ada", "remove user", "ada", ("users add ada",)),
    Case("prices add code --input 1", "add price", "code"),
    Case("prices plan acme pro", "assign plan", "acme"),
    Case("ledger reverse a --reason late", "reverse charges", "ledger", (charged,)),
    Case("ledger days", "seal days", "ledger", (yesterday,)),
    Case("invoice default --month 2026-01 --close", "close invoice", "default", (charged,)),
    Case(OVERRIDE, "override rule", "code"),
    Case("terms end 1 --who bob", "end override", "code", (OVERRIDE,)),
    Case("models add big upstream=http://h --wait 0", "add model", "big"),
    *(
        Case(
            f"models {words} --wait 0", f"{do} model", "big", ("models add big upstream=http://h",)
        )
        for do, words in (("change", "set big timeout=5"), ("remove", "remove big"))
    ),
    Case("rollback code", "roll back", "code", (START, "canary promote --reason r")),
    Case(START, "start canary", "code"),
    *(
        Case(f"canary {do} --reason r", f"{do} canary", "code", (START,))
        for do in ("step", "hold", "promote", "abort")
    ),
    Case("canary resume --reason r", "resume canary", "code", (START, "canary hold --reason r")),
    Case("cycle --now", "begin cycle", "code"),
    Case("cycle --cancel early", "cancel cycle", "code", ("cycle --now",)),
    Case("cycle --pause launch", "pause learning", "code"),
    Case("cycle --resume", "resume learning", "code", ("cycle --pause launch",)),
    Case("prune", "prune checkpoint", OWN, (own_adapter,)),
    Case("import FOLDER/logs.jsonl", "import logs", "code"),
    Case("archive 2026-02-01", "archive day", "2026-02-01", (answered,)),
    Case("restore 2026-02-01", "restore day", "2026-02-01", (answered, "archive 2026-02-01")),
    Case("forget ada", "forget user", "default", (answered,)),
    Case("quarantine --retry", "retry quarantine", "quarantine", (refused,)),
    Case("quarantine --drop", "drop quarantine", "quarantine", (refused,)),
    Case("rollups --rebuild", "rebuild rollups", "rollups", (answered,)),
    Case(SCORES, "import scores", "one"),
    Case("scoreboard remove 1", "remove scores", "run 1", (SCORES,)),
    Case("adoption import FOLDER/figures.csv", "import figures", "figures.csv"),
    Case(MANUALS, "add documents", "manuals"),
    Case("documents remove manuals", "remove documents", "manuals", (MANUALS,)),
    Case("db stop --destroy", "destroy databases", "databases"),
)
ELSEWHERE = {
    **{
        f"db {do}": ("agentdb/test_commands.py", f"{do} database")
        for do in ("create", "fork", "freeze", "limit", "pause", "delete")
    },
    "import-checkpoint": ("cli/test_sharing.py", "import checkpoint"),
    "merge": ("cli/test_export.py", "merge adapters"),
    "scoreboard run": ("cli/test_scoreboard.py", "score models"),
    "switch": ("cli/test_switch.py", "switch base"),
}
"""Commands that take a model or a server: the test, and the action that it looks for."""
RECORDS = {
    "export": "that the terms deny it",
    "gate": "which checkpoints are held loaded meanwhile",
    "ternary convert": "that the terms deny it",
    "ternary export": "that the terms deny it",
    "ternary train": "that the terms deny it",
    "upcycle": "that the terms deny it",
}
"""Commands that write no change but a record of another kind, and which."""


@pytest.fixture
def home(database_dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """With two checkpoints, and the alias ``code`` on the first."""

    async def make() -> None:
        async with await Connection.connect(database_dsn) as conn:
            await register(conn, Checkpoint(A, "base", Path("/")), {})
            await register(conn, Checkpoint(B, "adapter", Path("/"), A, A), {})
            await aliases.create(conn, "code", A)

    asyncio.run(make())
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    (tmp_path / "settings.toml").write_text("canary.few_sessions = 0\n")
    (tmp_path / "logs.jsonl").write_text(json.dumps(chat()) + "\n")
    (tmp_path / "scores.json").write_text('{"a": true}')
    (tmp_path / "figures.csv").write_text(
        "model,day,downloads,derivatives,source\nQwen/Qwen3-8B,2025-05-06,7,3,hub\n"
    )
    (tmp_path / "manuals").mkdir()
    (tmp_path / "manuals" / "gateway.md").write_text("# Gateway")
    return tmp_path


def run(words: str, dsn: str, home: Path) -> Result:
    with psycopg.connect(dsn) as conn:
        (key,) = conn.execute("select max(id) from api_keys").fetchone() or (None,)
    filled = words.replace("FOLDER", str(home)).replace("KEY", key or "")
    where = ["--home", str(home), "--config", str(home / "settings.toml")]
    result = CliRunner().invoke(app, [*filled.split(), *where])
    assert result.exit_code == 0, (words, result.output)
    return result


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.words.replace("FOLDER/", ""))
def test_each_change_has_one_row(database_dsn: str, home: Path, case: Case) -> None:
    for step in case.before:
        if isinstance(step, str):
            run(step, database_dsn, home)
        else:
            step(database_dsn, home)
    known = len(read_audit(database_dsn))
    said = run(case.words, database_dsn, home).stdout
    (entry,) = read_audit(database_dsn)[: len(read_audit(database_dsn)) - known]
    assert (entry.actor, entry.action, entry.target) == ("command", case.action, case.target)
    assert entry.details["system_user"] == find_user()
    assert not any(secret in str(entry.details) for secret in SECRET.findall(said))
    if case.action == "forget user":
        assert "ada" not in str(entry)


def test_what_is_refused_or_changes_nothing_has_none(database_dsn: str, home: Path) -> None:
    run("cycle --now", database_dsn, home)
    known = read_audit(database_dsn)
    for words in (
        "cycle --now",  # one is open
        "tenants drop-adapters nobody",
        "db delete none",
        "quarantine --retry --drop",
        "prune --dry-run",
        "archive",
        "status",
    ):
        run(words, database_dsn, home)
    for words in (
        *("keys create nobody", "keys revoke nothing", "tenants remove nobody", "users remove eve"),
        *("rollback code", "canary abort --reason r", "cycle --resume", "models remove none"),
        *("ledger reverse x --reason y", "terms end 7 --who bob", "documents remove none"),
        *("scoreboard remove 7", "invoice a --month 2199-01 --close", "archive 2026-01-01"),
        *("restore 2026-02-01", "switch code --back"),
    ):
        where = ["--home", str(home), "--config", str(home / "settings.toml")]
        assert CliRunner().invoke(app, [*words.split(), *where]).exit_code, words
    assert read_audit(database_dsn) == known


def commands(group: Any, name: str = "") -> Iterator[tuple[str, Callable[..., Any]]]:
    """All of them by their words, and what each calls."""
    for word in group.commands:
        command, words = group.commands[word], f"{name} {word}".strip()
        if hasattr(command, "commands"):
            yield from commands(command, words)
        else:
            yield words, inspect.unwrap(command.callback)


@cache
def names(module: str) -> dict[str, set[str]]:
    """What each function of a module names, what is imported as ``module.name``."""
    tree = ast.parse((Path(cli.__file__).parents[2] / f"{module.replace('.', '/')}.py").read_text())
    imported = {
        one.name: f"{node.module}.{one.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for one in node.names
    }
    return {
        node.name: {
            imported.get(one.id, one.id) for one in ast.walk(node) if isinstance(one, ast.Name)
        }
        for node in tree.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


CONTEXT, RULES = "liveweights.cli.context", "liveweights.cli.rules"
DOORS = {
    *(f"{CONTEXT}.{name}" for name in ("change", "write", "open_database", "open_server")),
    *(f"{RULES}.{name}" for name in ("find_denial", "check_export")),
}
"""By what a command gets to write in the service's database."""


def writes(function: Callable[..., Any]) -> bool:
    """Whether the command goes through one of the doors, in its own module."""
    named = names(function.__module__)
    reached, waiting = set[str](), [function.__name__]
    while waiting:
        if (name := waiting.pop()) not in reached:
            reached.add(name)
            waiting.extend(named.get(name, ()))
    return bool(reached & DOORS)


def test_every_command_that_writes_is_tried() -> None:
    """Others cannot: Postgres refuses what ``query`` would write."""
    every = {name: writes(function) for name, function in commands(typer.main.get_command(app))}
    writing = {name for name, does in every.items() if does}
    tried = {
        max((one for one in every if f"{case.words} ".startswith(f"{one} ")), key=len)
        for case in CASES
    }
    assert tried | ELSEWHERE.keys() | RECORDS.keys() == writing
    assert not tried & (ELSEWHERE.keys() | RECORDS.keys())
    for file, action in ELSEWHERE.values():
        assert f'"{action}"' in (Path(__file__).parents[1] / file).read_text(), file


def test_no_other_module_of_commands_opens_the_database() -> None:
    opening = {
        file.stem
        for file in Path(cli.__file__).parent.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute | ast.Name)
        and ast.unparse(node) in {"open_pool", "open_server", "AsyncConnection", "psycopg.connect"}
    }
    assert opening == {"context", "imports"}


def test_postgres_refuses_what_a_question_would_write(database_dsn: str, home: Path) -> None:
    async def sneak(conn: Connection) -> None:
        await conn.execute("update aliases set live = live")

    with pytest.raises(typer.Exit) as refused:
        query(Config(), home, sneak)
    assert isinstance(refused.value.__cause__, psycopg.errors.ReadOnlySqlTransaction)
