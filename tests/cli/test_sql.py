from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
import time

import psycopg
import pytest
from tests.record.rows import make_feedback, make_generation
from tests.record.test_window import record
from typer.testing import CliRunner, Result

import liveweights.cli.sql as module
from liveweights.cli import app
from liveweights.config import DATABASE_URL

INTERRUPT = "\x03"
MAIN = "from liveweights.cli import main; main()"


@pytest.fixture
def dsn(database_dsn: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    record(database_dsn, make_generation("g"), make_feedback("f", "g"))
    return database_dsn


def run(*arguments: str, text: str | None = None) -> Result:
    return CliRunner().invoke(app, list(arguments), input=text)


def test_a_query_in_every_format(dsn: str) -> None:
    query = ("sql", "-c", "select checkpoint, accepted from stats where minutes = 60")
    assert json.loads(run(*query, "--json").stdout) == [
        {"checkpoint": "base@000000000000", "accepted": 1}
    ]
    assert run(*query, "--csv").stdout == "checkpoint,accepted\nbase@000000000000,1\n"
    assert "base@000000000000" in run(*query).stdout


def test_what_postgres_holds_is_shown_as_it_is(dsn: str) -> None:
    query = (
        "select 'infinity'::timestamptz as a, '20000-01-01'::date as b, 'infinity'::interval as c,"
        " (repeat('[', 6000) || repeat(']', 6000))::jsonb as d, 1 as e, 2 as e, '[/nope]' as f"
    )
    (row,) = json.loads(run("sql", "-c", query, "--json").stdout)
    assert (row["a"], row["b"], row["c"], row["d"]) == (
        *("infinity", "20000-01-01", "infinity"),
        "[" * 6000 + "]" * 6000,
    )
    assert (row["e"], row["e (2)"], row["f"]) == (1, 2, "[/nope]")
    assert run("sql", "-c", query, "--csv").stdout.startswith(
        "a,b,c,d,e,e,f\ninfinity,20000-01-01,"
    )
    table = run("sql", "-c", "select 1 as \"[/nope]\", '[/b]' as x")
    assert table.exit_code == 0, table.output
    assert "[/nope]" in table.stdout
    assert "[/b]" in table.stdout


def test_each_statement_is_answered_and_none_is_cut(dsn: str) -> None:
    assert run("sql", "-c", "select 1 as a; select 2 as b", "--csv").stdout == "a\n1\nb\n2\n"
    for text in ("select 'x'\0; select 2", "select '\ud800'", "copy answers to stdout"):
        result = run("sql", "-c", text)
        assert result.exit_code == 2
        assert "NUL" in result.output or "surrogate" in result.output or "COPY" in result.output
    result = run(
        "sql", "-c", "select E'\\x1b[2J' || chr(155) as a, '=1+1' as b, '-1.5'::numeric as c"
    )
    assert "\x1b" not in result.stdout
    csv = run("sql", "-c", "select '=1+1' as b, '-1.5'::numeric as c, '-x' as d", "--csv").stdout
    assert csv == "b,c,d\n'=1+1,-1.5,'-x\n"


def test_every_view_is_explained(dsn: str) -> None:
    views = json.loads(run("sql", "-c", "views", "--json").stdout)
    assert {"answers", "latency", "outcomes", "reactions", "stats", "swaps"} <= {
        view["view"] for view in views
    }
    assert all(view["about"] for view in views)
    columns = {view["view"]: view["columns"].split(", ") for view in views}
    assert {"id", "output", "decided_by"} <= set(columns["answers"])


def test_psqls_command_for_what_there_is_is_understood(dsn: str) -> None:
    described = json.loads(run("sql", "-c", r"\d reactions", "--json").stdout)
    types = {row["column"]: row["type"] for row in described}
    assert (types["signal"], types["delay"]) == ("text", "interval")
    assert run("sql", "-c", r"\d").stdout == run("sql", "-c", "views").stdout
    wrong = run("sql", "-c", r"\d nothing")
    assert wrong.exit_code == 2
    assert "nothing" in wrong.output


def test_nothing_can_be_changed(dsn: str) -> None:
    result = run("sql", "-c", "delete from rollups")
    assert result.exit_code == 2
    assert "read-only" in result.output


def test_the_prompt_goes_on_after_a_mistake(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_psql", lambda: None)
    result = run("sql", text="selekt;\nselect count(*)\n as answers from answers;\nviews;\n")
    assert result.exit_code == 0, result.output
    assert "syntax error" in result.output
    assert "answers" in result.output
    assert "latency" in result.output


def test_psql_is_opened_read_only(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with psycopg.connect(dsn) as conn:
        before = conn.execute("select count(*) from rollups").fetchone()
    ran: list[tuple[list[str], dict[str, str]]] = []

    def note(command: list[str], env: dict[str, str]) -> None:
        ran.append((command, env))

    with monkeypatch.context() as patch:
        patch.setattr(module, "run_psql", note)
        assert run("sql").exit_code == 0
    ((command, env),) = ran
    deleting = subprocess.run(
        [*command, "-c", "delete from rollups"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "read-only" in deleting.stderr
    with psycopg.connect(dsn) as conn:
        assert conn.execute("select count(*) from rollups").fetchone() == before


class Terminal:
    """``liveweights sql`` on a terminal of its own: what is typed reaches it as keys do."""

    def __init__(self, dsn: str, code: str = "") -> None:
        self._keys, end = pty.openpty()
        take = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0)"
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"{take}\n{code}\nfrom liveweights.cli import main; main()",
                "sql",
            ],
            stdin=end,
            stdout=end,
            stderr=end,
            env={**os.environ, DATABASE_URL: dsn, "TERM": "dumb", "PSQL_PAGER": ""},
            start_new_session=True,
        )
        os.close(end)
        self._said = ""

    def type(self, keys: str) -> None:
        os.write(self._keys, keys.encode())

    def wait_for(self, words: str) -> None:
        """Until it says that, after what was waited for before."""
        while words not in self._said:
            more = self._read()
            assert more, self._said
            self._said += more
        self._said = self._said.partition(words)[2]

    def close(self) -> tuple[int, str]:
        """How it ended by itself, and what it said after what was waited for."""
        try:
            while more := self._read():
                self._said += more
            return self._process.wait(30), self._said
        finally:
            self._process.kill()
            os.close(self._keys)

    def _read(self) -> str:
        try:
            return os.read(self._keys, 4096).decode()
        except OSError:  # nobody has the other end any more
            return ""


@pytest.mark.timeout(60)
def test_interrupts_are_psqls(dsn: str) -> None:
    asked = "select count(*) from pg_stat_activity where query like 'select pg_sleep%'"
    terminal = Terminal(dsn)
    for _ in range(3):
        terminal.wait_for("=# ")
        terminal.type("select pg_sleep(600);\n")
        with psycopg.connect(dsn, autocommit=True) as conn:
            while conn.execute(asked + " and state = 'active'").fetchone() != (1,):
                time.sleep(0.05)
        terminal.type(INTERRUPT)
        terminal.wait_for("canceling statement due to user request")
    terminal.type("select 'still ' || 'here';\n\\q\n")
    code, said = terminal.close()
    assert (code, "still here" in said) == (0, True), said


@pytest.mark.timeout(60)
def test_an_interrupt_at_the_prompt_forgets_the_statement(dsn: str) -> None:
    terminal = Terminal(dsn, "from liveweights.cli import sql; sql.find_psql = lambda: None")
    terminal.wait_for("liveweights> ")
    terminal.type("selekt\n")
    terminal.wait_for("... ")
    time.sleep(0.5)  # readline overlooks a signal between its prompt and its wait
    terminal.type(INTERRUPT)
    terminal.wait_for("liveweights> ")
    terminal.type("select 'still ' || 'here';\n\x04")
    code, said = terminal.close()
    assert (code, "still here" in said, "syntax error" in said) == (0, True, False), said
