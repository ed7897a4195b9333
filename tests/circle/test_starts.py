"""First starts, second starts and starts with another model, as a user has them on a terminal."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from tests.learn.families import make_config, make_family, write_family

from liveweights.app.restarts import AWAY
from liveweights.replay.service import free_port, write_config
from liveweights.store.embedded import EmbeddedPostgres

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

COMMAND = [sys.executable, "-c", "from liveweights.cli import main; main()"]


@dataclass
class Folder:
    """Homes, models and one cache for all starts of a test."""

    path: Path
    dsn: str | None = None
    ports: dict[str, int] = field(default_factory=dict[str, int])

    def __post_init__(self) -> None:
        write_config(self.path / "liveweights.toml", {
            "cache": str(self.path / "cache"),
            "engine": {"kind": "torch", "context_length": 64, "threads": 1, "slots": 1},
            "cycle": {"lease": 3.0, "poll": 0.1},
        })  # fmt: skip

    def command(self, verb: str, model: Path, home: str, *more: str) -> list[str]:
        port = str(self.ports.setdefault(home, free_port()))
        where = ["--home", str(self.path / home), "--config", str(self.path / "liveweights.toml")]
        return [*COMMAND, verb, "--model", str(model), *where, "--port", port, *more]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **({"LIVEWEIGHTS_DATABASE_URL": self.dsn} if self.dsn else {})}

    def refused(
        self, model: Path, home: str, *more: str, verb: str = "serve", code: int = 2
    ) -> str:
        """What a start that is refused says, which is one line."""
        done = subprocess.run(
            self.command(verb, model, home, *more),
            env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        said = [
            line for line in done.stderr.splitlines() if not re.match(r"\d{4}-\d\d-\d\d ", line)
        ]
        assert len(said) == 1, done.stderr
        return said[0]

    @contextmanager
    def started(self, model: Path, home: str, *more: str, verb: str = "serve") -> Iterator[str]:
        """The URL of a service that answers."""
        log = self.path / f"{home}.log"
        with log.open("ab") as sink:
            process = subprocess.Popen(
                self.command(verb, model, home, *more),
                env=self.environment, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink,
            )  # fmt: skip
        url = f"http://127.0.0.1:{self.ports[home]}"
        try:
            end = time.monotonic() + 240
            while not _healthy(url):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.2)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(90)
        assert process.returncode == 0, log.read_text()

    def ask(self, home: str, query: str) -> list[tuple[object, ...]]:
        """The database of a service that is not running."""
        with (
            EmbeddedPostgres(self.path / home / "postgres") as server,
            psycopg.connect(server.dsn) as conn,
        ):
            return conn.execute(query.encode()).fetchall()


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def models(url: str) -> set[str]:
    with urllib.request.urlopen(f"{url}/v1/models", timeout=10) as answer:
        return {model["id"] for model in json.load(answer)["data"]}


def complete(url: str, model: str = "code") -> str:
    """The checkpoint that answers."""
    body = {"model": model, "prompt": "a(b", "max_tokens": 2}
    request = urllib.request.Request(
        f"{url}/v1/completions", json.dumps(body).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["checkpoint"]


@pytest.fixture
def folder() -> Iterator[Folder]:
    path = Path(tempfile.mkdtemp(prefix="liveweights-starts-"))
    path.chmod(0o711)
    try:
        yield Folder(path)
    finally:
        for home in path.glob("*/postgres"):
            EmbeddedPostgres(home).destroy()
        shutil.rmtree(path, ignore_errors=True)


def cut_off(file: str) -> Callable[[Path], object]:
    return lambda model: (model / file).write_bytes((model / file).read_bytes()[:-40])


def a_pipe(model: Path) -> None:
    (model / "model.safetensors").unlink()
    os.mkfifo(model / "model.safetensors")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "tokenizer": (cut_off("tokenizer.json"), "its tokenizer"),
    "pipe": (a_pipe, "is not a file"),
}


def test_a_first_start_that_fails_leaves_nothing_behind(folder: Folder) -> None:
    good = make_family("qwen3", folder.path / "good")
    for name, (spoil, why) in BROKEN.items():
        broken = Path(shutil.copytree(good, folder.path / name))
        spoil(broken)
        assert why in folder.refused(broken, "home")
    assert not (folder.path / "home" / "postgres").exists()
    with folder.started(good, "home") as url:
        assert models(url) == {"code"}
    known = folder.ask("home", "select id from checkpoints")
    assert [str(id).partition("@")[0] for (id,) in known] == ["good"]


def test_what_is_in_the_way_is_said_before_anything_is_started(folder: Folder) -> None:
    good = make_family("qwen3", folder.path / "good")
    with folder.started(good, "home"):
        taken = folder.ports["home"]
        second = folder.refused(good, "home", "--port", str(free_port()))
        assert re.search(r"home is in use by process \d+ on .*, since \d{4}-.*--home", second)
        folder.ports["other"] = taken
        assert f"Port {taken} on 127.0.0.1 is in use" in folder.refused(good, "other")
        assert not (folder.path / "other" / "postgres").exists()
    for address, why, code in (
        ("postgresql//user:secret@host", "address is none of Postgres", 2),
        ("host=127.0.0.1 port=1 password=secret", "The database cannot be reached: ", AWAY),
    ):
        folder.dsn = address
        said = folder.refused(good, "third", code=code)
        assert why in said
        assert "secret" not in said


def test_another_model_on_a_used_home_is_served_only_where_that_is_said(folder: Folder) -> None:
    one = make_family("qwen3", folder.path / "one")
    two = write_family(make_config("mistral"), folder.path / "two")
    with folder.started(one, "home") as url:
        first = complete(url)
        assert first.startswith("one@")
    said = folder.refused(two, "home")
    assert f"'code' stands on {first}, not on two@" in said
    assert "--alias NAME" in said
    assert "--switch-alias" in said
    with folder.started(two, "home", "--alias", "second") as url:
        # The first one's answers would be made with this one's tokenizer: it is not served here.
        assert models(url) == {"second"}
        assert complete(url, "second").startswith("two@")
    with folder.started(two, "home", "--switch-alias") as url:
        assert complete(url).startswith("two@")
    with folder.started(two, "home") as url:
        assert complete(url).startswith("two@")
    assert "stands on two@" in folder.refused(one, "home")


@pytest.mark.slow
def test_on_one_database_apis_stand_beside_each_other_and_workers_do_not(
    folder: Folder, postgres: str
) -> None:
    with psycopg.connect(postgres, autocommit=True) as conn:
        conn.execute("create database starts")
    folder.dsn = make_conninfo(postgres, dbname="starts")
    good = make_family("qwen3", folder.path / "good")
    try:
        with folder.started(good, "first", verb="up") as first:
            said = folder.refused(good, "second", verb="up")
            assert re.search(r"another worker's \(process \d+ on .*, since .*\)", said)
            assert "liveweights serve" in said
            with folder.started(good, "second") as second:
                assert complete(second) == complete(first)
        with folder.started(good, "second", verb="up") as second:  # the first let go
            assert models(second) == {"code"}
    finally:
        with psycopg.connect(postgres, autocommit=True) as conn:
            conn.execute("drop database starts with (force)")
