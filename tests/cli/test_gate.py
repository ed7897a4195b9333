from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest
from typer.testing import CliRunner

from liveweights.cli import app
from liveweights.config import DATABASE_URL
from liveweights.service_key import make_key

RUNNER = CliRunner()
CARD = """
scorer = "exact"
[card]
name = "mine"
version = "1"
title = "t"
licence = "MIT"
margin = 0.1
"""


class Handler(BaseHTTPRequestHandler):
    """A service with two models: "good" answers yes, "bad" no."""

    shown: ClassVar[set[str]] = set()
    """What callers showed as their key."""

    def do_GET(self) -> None:
        self.shown.add(self.headers["authorization"] or "")
        self._reply(200 if self.path.endswith(("/good", "/bad")) else 404, {})

    def do_POST(self) -> None:
        self.shown.add(self.headers["authorization"] or "")
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        said = "yes" if body["model"] == "good" else "no"
        self._reply(200, {"choices": [{"text": said}]})

    def _reply(self, code: int, body: dict[str, object]) -> None:
        data = json.dumps(body).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def suite(tmp_path: Path) -> str:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "suite.toml").write_text(CARD)
    lines = [json.dumps({"id": str(i), "prompt": f"p{i}", "target": "yes"}) for i in range(80)]
    (folder / "cases.jsonl").write_text("\n".join(lines))
    return str(folder)


@pytest.mark.parametrize(
    ("candidate", "incumbent", "more", "code", "standing"),
    [
        ("good", "bad", [], 0, "BETTER"),
        ("bad", "good", [], 1, "WORSE"),
        ("good", "good", [], 0, "NOT_WORSE"),
        ("good", "good", ["--cases", "10"], 3, "INCONCLUSIVE"),
        ("good", "good", ["--better"], 3, "INCONCLUSIVE"),
    ],
)
def test_the_exit_code_and_the_numbers_say_the_same(
    url: str,
    suite: str,
    candidate: str,
    incumbent: str,
    more: list[str],
    code: int,
    standing: str,
) -> None:
    arguments = ["gate", suite, "--candidate", candidate, "--incumbent", incumbent, "--url", url]
    result = RUNNER.invoke(app, [*arguments, *more, "--json"])
    assert result.exit_code == code, result.output
    (finding,) = json.loads(result.stdout)
    assert (finding["standing"], finding["suite"]) == (standing, suite)
    shown = RUNNER.invoke(app, [*arguments, *more])
    assert shown.stdout.replace("\n", "").startswith(f"{standing}: {suite}")


def test_the_service_of_the_home_is_asked_as_itself(url: str, suite: str, tmp_path: Path) -> None:
    arguments = ["gate", suite, "--candidate", "good", "--incumbent", "bad", "--cases", "5"]
    arguments += ["--url", url, "--key", "a tenant's", "--home", str(tmp_path)]
    Handler.shown.clear()
    RUNNER.invoke(app, arguments)
    assert Handler.shown == {"Bearer a tenant's"}
    key = make_key(tmp_path)
    Handler.shown.clear()
    RUNNER.invoke(app, arguments)
    assert Handler.shown == {f"Bearer {key}"}


def test_no_transaction_is_open_while_it_asks(
    url: str, suite: str, database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would keep who archives, forgets or migrates waiting for as long."""
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, card) values ('bad', 'base', '/', '{}')"
        )
        conn.execute("insert into aliases (name, live) values ('code', 'bad')")
    found: set[int] = set()
    answer = Handler.do_POST

    def look(handler: Handler) -> None:
        query = (
            "select count(*) from pg_stat_activity"
            " where datname = current_database() and state = 'idle in transaction'"
        )
        with psycopg.connect(database_dsn, autocommit=True) as conn:
            found.add((conn.execute(query).fetchone() or (-1,))[0])
        answer(handler)

    monkeypatch.setattr(Handler, "do_POST", look)
    asked = ["gate", suite, "--candidate", "good", "--url", url, "--cases", "5"]
    result = RUNNER.invoke(app, asked)
    assert result.exit_code in (0, 3), result.output
    assert found == {0}


def test_answers_are_kept_and_not_asked_again(url: str, suite: str, tmp_path: Path) -> None:
    arguments = ["gate", suite, "--candidate", "good", "--incumbent", "bad", "--cases", "5"]
    arguments += ["--keep", str(tmp_path / "kept"), "--json"]
    RUNNER.invoke(app, [*arguments, "--url", url])
    (kept,) = (tmp_path / "kept").glob("*.jsonl")
    assert len(kept.read_text().splitlines()) == 1 + 5
    kept.write_text(kept.read_text().replace('"answer":"no"', '"answer":"kept"'))
    RUNNER.invoke(app, [*arguments, "--url", url])
    assert kept.read_text().count('"answer":"kept"') == 5


def test_what_cannot_be_done_is_said(url: str, suite: str, tmp_path: Path) -> None:
    home = ["--home", str(tmp_path / "nothing")]
    for arguments, words in [
        (["gate", "poetry", "--candidate", "good", "--incumbent", "bad"], "there is no suite"),
        (["gate", suite, "--candidate", "absent", "--incumbent", "bad"], "there is no service in"),
    ]:
        result = RUNNER.invoke(app, [*arguments, "--url", url, *home])
        assert result.exit_code == 2
        assert words in result.output.replace("\n", " ")


def test_suites_are_listed_with_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "250")
    rows = json.loads(RUNNER.invoke(app, ["suites", "--json"]).stdout)
    assert {row["name"] for row in rows} >= {"code", "mathematics", "knowledge", "instructions"}
    knowledge = next(row for row in rows if row["name"] == "knowledge")
    assert (knowledge["ready"], knowledge["licence"]) == (True, "CC0-1.0")
    assert "held-back" in RUNNER.invoke(app, ["suites"]).stdout
