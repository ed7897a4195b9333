"""``liveweights adoption`` and ``insight adoption``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from tests.record.rows import make_generation
from tests.record.test_window import record
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.config import DATABASE_URL

SETTINGS = """
[models.code]
base = "hf://Qwen/Qwen3-8B"

[models.open]
base = "hf://openai/gpt-oss-20b"
"""
FIGURES = """model,day,downloads,derivatives,source
Qwen/Qwen3-8B,2025-05-06,70000,3,hub
Qwen/Qwen2.5-7B-Instruct,2024-10-01,30000,,hub
"""


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


@pytest.fixture
def options(database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    file = tmp_path / "settings.toml"
    file.write_text(SETTINGS)
    now = datetime.now(UTC)
    aliases = ["code", "code", "code", "open"]
    record(
        database_dsn,
        *(make_generation(f"g{n}", alias=a, created_at=now) for n, a in enumerate(aliases)),
    )
    return ["--home", str(tmp_path), "--config", str(file)]


COMMAND = [sys.executable, "-c", "from liveweights.cli import main; main()"]
WAITS = Event()
"""The hub was asked for a model that it never answers for."""


@pytest.fixture
def hub() -> Iterator[str]:
    """Seven downloads of each model of Qwen's, and none of anybody else's."""
    done = Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "120b" in self.path:
                WAITS.set()
                done.wait(60)
            body = b'{"id": "x/y", "downloadsAllTime": 7}'
            if "/Qwen/" not in self.path:
                self.close_connection = True  # without an answer
                return
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    done.set()
    server.shutdown()
    server.server_close()


def test_own_shares_and_published_figures(options: list[str], tmp_path: Path) -> None:
    told = json.loads(run("insight", "adoption", "--json", *options).stdout)
    assert {one["value"]: one["answer_share"] for one in told} == {"CN": 0.75, "US": 0.25}
    shown = run("insight", "adoption", "--by", "maker", *options)
    assert "75.0%" in shown.stdout
    picture = tmp_path / "shares.svg"
    assert run("insight", "adoption", "--plot", str(picture), *options).exit_code == 0
    assert "<svg" in picture.read_text()

    file = tmp_path / "figures.csv"
    file.write_text(FIGURES)
    for _ in range(2):
        kept = run("adoption", "import", str(file), *options)
        assert kept.exit_code == 0, kept.output
        assert kept.stdout == "2 figures kept\n"
    rows = json.loads(run("adoption", "relative", "--json", *options).stdout)
    assert {one["model"] for one in rows} == {"Qwen/Qwen3-8B", "Qwen/Qwen2.5-7B-Instruct"}
    one = json.loads(run("adoption", "relative", "Qwen3-8B", "--json", *options).stdout)
    assert [(row["day"], row["downloads"], row["sources"]) for row in one] == [(7, 70000, ["hub"])]
    assert one[0]["size"] == "7-9B"

    file.write_text(FIGURES + "nobody,2026-01-01,1,,x\n")
    wrong = run("adoption", "import", str(file), *options)
    assert wrong.exit_code == 2
    assert "line 4" in wrong.stderr


def test_a_file_of_a_spreadsheet_is_read(options: list[str], tmp_path: Path) -> None:
    file = tmp_path / "figures.csv"
    file.write_text(FIGURES, encoding="utf-8-sig")
    kept = run("adoption", "import", str(file), *options)
    assert kept.stdout == "2 figures kept\n", kept.output


def test_counts_of_a_hub_are_kept_as_they_come(
    options: list[str], hub: str, database_dsn: str
) -> None:
    known = ["Qwen/Qwen3-8B", "openai/gpt-oss-20b", "Qwen/Qwen2.5-7B-Instruct"]
    words = [word for name in known for word in ("--model", name)]
    done = subprocess.run(
        [*COMMAND, "adoption", "import", "hub", *words, *options],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "HF_ENDPOINT": hub, "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.returncode == 1, done.stderr
    assert done.stdout == "2 figures kept\n"
    assert "openai/gpt-oss-20b" in done.stderr
    with psycopg.connect(database_dsn) as conn:
        rows = conn.execute("select model, downloads from adoption_snapshots order by 1").fetchall()
        noted = conn.execute("select count(*) from audit where action = 'import figures'")
        assert noted.fetchone() == (1,)
    assert rows == [("Qwen/Qwen2.5-7B-Instruct", 7), ("Qwen/Qwen3-8B", 7)]


def test_what_was_told_before_a_hub_is_left_stays(
    options: list[str], hub: str, database_dsn: str
) -> None:
    """Ended while the hub keeps it waiting for the second of two."""
    words = ["--model", "Qwen/Qwen3-8B", "--model", "openai/gpt-oss-120b"]
    client = subprocess.Popen(
        [*COMMAND, "adoption", "import", "hub", *words, *options],
        env={**os.environ, "HF_ENDPOINT": hub, "PYTHONPATH": ":".join(sys.path)},
    )
    try:
        assert WAITS.wait(60)
    finally:
        client.kill()
        client.wait()
    with psycopg.connect(database_dsn) as conn:
        assert conn.execute("select model from adoption_snapshots").fetchall() == [
            ("Qwen/Qwen3-8B",)
        ]
