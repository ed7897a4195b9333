"""``liveweights scoreboard`` against a service that counts and prices what it answers."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import psycopg
import pytest
from tests.audit import read_changes
from typer.testing import CliRunner, Result

from liveweights.cli import app
from liveweights.config import DATABASE_URL
from liveweights.release import deployments
from liveweights.store.database import Connection
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register

CARD = """
scorer = "exact"
[card]
name = "mine"
version = "1"
title = "t"
licence = "MIT"
"""
MODELS = {
    "good": {
        "id": "good",
        "checkpoint": "good@1",
        "owned_by": "liveweights",
        "pricing": {"input": 1.0, "output": 2.0},
    },
    "stiff": {"id": "stiff", "checkpoint": "stiff@1", "owned_by": "liveweights"},
    "bad": {
        "id": "bad",
        "checkpoint": "bad@1",
        "data": {"sent_to": "api.example.com"},
        "pricing": {"input": 0.0, "output": 0.0},
    },
}


class Handler(BaseHTTPRequestHandler):
    """Three models: "stiff" takes no request, "good" answers yes, by the id of its checkpoint;
    "bad", which somebody else hosts, no."""

    asked: ClassVar[Counter[str]] = Counter()
    meanwhile: ClassVar[Callable[[], None] | None] = None

    def do_GET(self) -> None:
        name = self.path.rpartition("/")[2]
        self._reply(200 if name in MODELS else 404, MODELS.get(name, {}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.asked[body["model"]] += 1
        if body["model"] == "stiff@1":
            self._reply(400, {"error": "it has no tools"})
            return
        if Handler.meanwhile:
            Handler.meanwhile()
        said = "yes" if body["model"] == "good@1" else "no"
        usage = {"prompt_tokens": 4, "completion_tokens": 1}
        self._reply(200, {"choices": [{"text": said}], "usage": usage})

    def _reply(self, code: int, body: object) -> None:
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
    Handler.asked.clear()
    Handler.meanwhile = None
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture
def suite(tmp_path: Path) -> str:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "suite.toml").write_text(CARD)
    lines = [json.dumps({"id": str(i), "prompt": f"p{i}", "target": "yes"}) for i in range(40)]
    (folder / "cases.jsonl").write_text("\n".join(lines))
    return str(folder)


@pytest.fixture
def home(database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv(DATABASE_URL, database_dsn)
    return ["--home", str(tmp_path)]


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["scoreboard", *words])


def test_a_run_is_asked_once_shown_compared_and_removed(
    url: str, suite: str, home: list[str], tmp_path: Path, database_dsn: str
) -> None:
    ask = ("run", "--models", "good,bad", "--suites", suite, "--url", url, *home)
    stopped = run(*ask, "--most-money", "0.00003")
    assert (stopped.exit_code, "stopped: 3e-05 of money are spent" in stopped.stderr) == (3, True)
    assert "good is not ranked" in stopped.stderr
    before = Handler.asked["good@1"]
    assert 5 <= before < 40
    done = run(*ask, "--twice", "good")
    assert done.exit_code == 0, done.output
    assert Handler.asked == {"good@1": 80, "bad": 40}
    assert "good a second time, with other seeds: +0.000" in done.stderr
    assert run(*ask).exit_code == 0
    assert Handler.asked["good@1"] == 80

    (table,) = json.loads(run("show", "--format", "json", *home).stdout)
    places = {one["model"]: one for one in table["ranking"]["places"]}
    assert (places["good"]["tied"], places["bad"]["tied"], places["bad"]["rank"]) == ("a", "b", 2)
    costs = {one["model"]: one for one in table["costs"]}
    assert (costs["good"]["nanos_per_solved"], costs["bad"]["hardware"]) == (6000.0, "hosted")
    rows = run("show", "--format", "csv", *home).stdout.splitlines()
    assert [row.split(",")[2] for row in rows] == ["model", "good", "bad"]
    assert run("show", "--format", "markdown", *home).stdout.startswith("## mine")
    picture = tmp_path / "scores.svg"
    assert run("show", "--plot", str(picture), *home).exit_code == 0
    assert "<svg" in picture.read_text()

    better = run("compare", "good", "bad", *home)
    assert (better.exit_code, "good is better than bad: 1.000 against 0.000" in better.stdout) == (
        0,
        True,
    )
    assert run("compare", "bad", "good", *home).exit_code == 1
    runs = json.loads(run("list", "--json", *home).stdout)
    assert sorted((one["model"], one["repeat"]) for one in runs) == [
        ("bad", 0),
        ("good", 0),
        ("good", 1),
    ]
    assert run("remove", str(runs[0]["id"]), *home).exit_code == 0
    assert run("remove", str(runs[0]["id"]), *home).exit_code == 2
    assert read_changes(database_dsn) == [
        *[("command", "score models", "mine")] * 3,
        ("command", "remove scores", f"run {runs[0]['id']}"),
    ]


@pytest.mark.parametrize("others", [False, True])
def test_the_checkpoint_that_is_scored_is_held_meanwhile(
    url: str, suite: str, home: list[str], database_dsn: str, others: bool
) -> None:
    seen: list[list[str]] = []

    def read_warm() -> list[str]:
        with psycopg.connect(database_dsn) as conn:
            return [name for (name,) in conn.execute("select checkpoint from warm")]

    async def prepare() -> None:
        async with await Connection.connect(database_dsn) as conn:
            await register(conn, Checkpoint("good@1", "base", Path("/")), {})
            if others:
                await deployments.keep_warm(conn, "good@1", 60)

    asyncio.run(prepare())
    Handler.meanwhile = lambda: seen.append(read_warm())
    done = run(
        "run", "--models", "good,bad", "--suites", suite, "--cases", "3", "--url", url, *home
    )
    assert done.exit_code == 0, done.output
    assert seen == [["good@1"]] * 6
    assert read_warm() == (["good@1"] if others else [])


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (["--models", "nobody"], "has no model 'nobody'"),
        (["--models", "good,good"], ""),
        (["--models", " , "], "name at least one model"),
        (["--models", "good", "--twice", "bad"], "--twice bad: it is none of"),
        (["--models", "good", "--suites", "nothing"], "there is no suite 'nothing'"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_a_sentence(
    url: str, suite: str, home: list[str], more: list[str], why: str
) -> None:
    suites = [] if "--suites" in more else ["--suites", suite]
    refused = run("run", "--url", url, *home, *more, *suites)
    assert refused.exit_code == (2 if why else 0), refused.output
    assert why in refused.stderr


def test_a_model_that_refuses_every_case_is_never_ranked(
    url: str, suite: str, home: list[str]
) -> None:
    ask = ("run", "--models", "good,stiff", "--suites", suite, "--url", url, *home)
    for times in range(2):
        refused = run(*ask)
        assert refused.exit_code == 2, times
        assert "stiff refused: stiff@1: 400" in refused.stderr
        assert Handler.asked["stiff@1"] == 40
    shown = run("show", "--format", "json", *home)
    (table,) = json.loads(shown.stdout)
    assert [place["model"] for place in table["ranking"]["places"]] == ["good"]
    assert [one["model"] for one in table["open"]] == ["stiff"]
    assert "stiff is not ranked: every case was refused" in run("show", *home).stderr


def test_published_scores_are_of_one_document(url: str, suite: str, home: list[str]) -> None:
    run("run", "--models", "good", "--suites", suite, "--url", url, *home)
    shown = run("show", "--published", "--format", "json", *home)
    assert shown.exit_code == 0, shown.output
    told = json.loads(shown.stdout)
    assert [one["conditions"]["suite"] for one in told["tables"]] == ["mine"]
    assert told["published"] == []
    refused = run("show", "--published", "--format", "csv", *home)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "As others published it" in run("show", "--published", *home).stdout


def test_a_service_that_is_away_is_named(suite: str, home: list[str]) -> None:
    away = run("run", "--models", "good", "--suites", suite, "--url", "http://127.0.0.1:9", *home)
    assert (away.exit_code, "cannot be reached" in away.stderr) == (2, True)


def test_results_of_others_are_kept_in_tables_of_their_own(home: list[str], tmp_path: Path) -> None:
    for model, step in (("one", 2), ("two", 3)):
        file = tmp_path / f"{model}.json"
        file.write_text(json.dumps({f"a__b-{i}": i % step == 0 for i in range(60)}))
        words = ("--model", model, "--suite", "swe", "--source", "a lab", *home)
        kept = run("import", str(file), *words)
        assert (kept.exit_code, f"60 results of {model} on swe kept" in kept.stdout) == (0, True)
    shown = run("show", *home)
    assert "as published by a lab" in shown.stderr
    broken = tmp_path / "broken.json"
    broken.write_text('{"a": 2}')
    words = ("--model", "x", "--suite", "swe", "--source", "a lab", *home)
    assert "a: 2 is no outcome" in run("import", str(broken), *words).stderr
    own = run("import", str(broken), "--model", "x", "--suite", "swe", "--source", "own", *home)
    assert own.exit_code == 2
    assert run("compare", "one", "x", *home).exit_code == 2


def test_corrected_results_are_not_said_to_be_kept(
    home: list[str], tmp_path: Path, database_dsn: str
) -> None:
    file = tmp_path / "results.json"
    words = ("import", str(file), "--model", "x", "--suite", "swe", "--source", "a lab", *home)
    file.write_text(json.dumps({"a__b-1": True, "a__b-2": False}))
    assert "2 results of x on swe kept; 1 solved" in run(*words).stdout
    assert "0 results of x on swe kept, 2 were there already; 1 solved" in run(*words).stdout
    file.write_text(json.dumps({"a__b-1": True, "a__b-2": True}))
    (kept,) = json.loads(run("list", "--json", *home).stdout)
    refused = run(*words)
    told = f"a__b-2 scored 0 in run {kept['id']}, and 1 here"
    assert (refused.exit_code, told in refused.stderr) == (2, True)
    assert f"scoreboard remove {kept['id']}" in refused.stderr
    assert run("remove", str(kept["id"]), *home).exit_code == 0
    assert "2 results of x on swe kept; 2 solved" in run(*words).stdout
    assert [action for _, action, _ in read_changes(database_dsn)] == [
        "import scores",
        "remove scores",
        "import scores",
    ]


def test_a_list_of_what_was_resolved_needs_all_instances(home: list[str], tmp_path: Path) -> None:
    file, ids = tmp_path / "results.json", tmp_path / "ids.txt"
    file.write_text(
        json.dumps({"no_generation": [], "no_logs": ["a__b-1"], "resolved": ["a__b-1"]})
    )
    words = ("import", str(file), "--model", "x", "--suite", "swe", "--source", "a lab", *home)
    refused = run(*words)
    assert (refused.exit_code, "--instances FILE" in refused.stderr) == (2, True)
    ids.write_text("a__b-1\na__b-2\n")
    kept = run(*words, "--instances", str(ids))
    assert "2 results of x on swe kept; 1 solved" in kept.stdout
    ids.write_text("a__b-2")
    strange = run(*words, "--instances", str(ids))
    assert (strange.exit_code, "a__b-1 is none of the 1 instances" in strange.stderr) == (2, True)
    ids.unlink()
    assert run(*words, "--instances", str(ids)).exit_code == 2
