"""The examples, and the Python that the pages show, against a real service."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from openai import OpenAI
from tests.circle.service import SETTINGS
from tests.docs.pages import ROOT

from liveweights.replay.client import Client
from liveweights.replay.service import Service, free_port, write_config
from liveweights.store.embedded import EmbeddedPostgres

pytestmark = [pytest.mark.model, pytest.mark.fault, pytest.mark.alone]

EXAMPLES = ROOT / "examples"
SHOWN = "http://127.0.0.1:8090/v1"


@dataclass(frozen=True)
class Place:
    """A running service."""

    home: Path
    config: Path
    url: str
    dsn: str

    def run(self, *command: str, cwd: Path = ROOT) -> str:
        """The command's output, with the service as the one that OpenAI's clients ask."""
        environment = {**os.environ, "OPENAI_BASE_URL": f"{self.url}/v1", "OPENAI_API_KEY": "none"}
        done = subprocess.run(
            command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout

    def liveweights(self, *words: str) -> str:
        where = ("--home", str(self.home), "--config", str(self.config))
        code = "from liveweights.cli import main; main()"
        return self.run(sys.executable, "-c", code, *words, *where)

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn) as conn:
            return conn.execute(query.encode(), values).fetchall()


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    folder = Path(tempfile.mkdtemp(prefix="liveweights-examples-"))
    config = folder / "liveweights.toml"
    # Cycles come when they are asked for, and a canary without users ends soon.
    write_config(
        config,
        {
            **SETTINGS,
            "engine": {"slots": 4, "context_length": 1024},
            "learn": {**SETTINGS["learn"], "max_rows": 24, "max_held_back": 24, "max_scored": 16},
            "cycle": {**SETTINGS["cycle"], "min_feedback": 100_000},
            "gate": {**SETTINGS["gate"], "cases": 20},
            "canary": {**SETTINGS["canary"], "max_seconds": 2.0, "longest_seconds": 2.0},
        },
    )
    service = Service(folder / "home", config, free_port(), folder / "service.log")

    async def wait() -> None:
        async with Client(service.url, timeout=60) as client:
            await service.wait(client, 600)

    try:
        asyncio.run(wait())
        dsn = EmbeddedPostgres(folder / "home" / "postgres").start()
        yield Place(folder / "home", config, service.url, dsn)
    except BaseException:
        print(service.log.read_text(errors="replace")[-6000:])
        raise
    finally:
        service.stop()
        shutil.rmtree(folder, ignore_errors=True)


def signals(place: Place) -> dict[str, int]:
    return dict(place.rows("select signal, count(*) from feedback group by 1"))


def test_python(place: Place) -> None:
    before = signals(place)
    said = place.run(sys.executable, str(EXAMPLES / "complete.py"))
    assert said.endswith("recorded\n")
    assert "smollm2-135m-instruct@" in said
    after = signals(place)
    assert after["thumbs"] == before.get("thumbs", 0) + 1
    assert after["comment"] == before.get("comment", 0) + 1


def test_curl(place: Place) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    before = signals(place)
    said = place.run("sh", str(EXAMPLES / "complete.sh"))
    assert re.search(r"that was gen_\w{32} by smollm2-135m-instruct@\w+", said)
    after = signals(place)
    for signal in ("rejected", "correction", "thumbs"):
        assert after[signal] == before.get(signal, 0) + 1


@pytest.fixture(scope="module")
def node_folder() -> Path:
    """The TypeScript example with its dependencies, installed once into a cache folder."""
    if not (shutil.which("node") and shutil.which("npm")):
        pytest.skip("node and npm are not installed: the TypeScript example cannot be run")
    root = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(root).expanduser() / "liveweights" / "tests" / "examples"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = (EXAMPLES / "package.json").read_text()
    if not (folder / "installed").exists() or (folder / "installed").read_text() != wanted:
        shutil.copy(EXAMPLES / "package.json", folder)
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=240)
        if done.returncode:
            pytest.skip(f"npm could not install the example's packages: {done.stderr[-300:]}")
        (folder / "installed").write_text(wanted)
    for name in ("complete.ts", "tsconfig.json"):
        shutil.copy(EXAMPLES / name, folder)
    return folder


def test_typescript(place: Place, node_folder: Path) -> None:
    programs = node_folder / "node_modules" / ".bin"
    place.run(str(programs / "tsc"), "--project", ".", cwd=node_folder)
    before = signals(place)
    said = place.run(str(programs / "tsx"), "complete.ts", cwd=node_folder)
    assert said.endswith("recorded\n")
    assert signals(place)["comment"] == before.get("comment", 0) + 1


@pytest.mark.parametrize("page", ["README.md", "docs/connect.md", "docs/api.md"])
def test_the_python_on_a_page(page: str, place: Place) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.M | re.DOTALL)
    assert blocks
    before = sum(signals(place).values())
    with OpenAI(base_url=f"{place.url}/v1", api_key="none") as client:
        names: dict[str, Any] = {"client": client}
        for block in blocks:
            if "from agents import" in block:
                continue  # no dependency: tests/clients runs it in an environment of its own
            exec(compile(block.replace(SHOWN, f"{place.url}/v1"), page, "exec"), names)
    if page != "docs/api.md":
        assert sum(signals(place).values()) == before + 1


def old_table(path: Path, count: int) -> None:
    """Suggestions of an earlier model; whatever it was, users wrote something else."""
    with path.open("w", newline="") as table, (EXAMPLES / "suggestions.csv").open() as example:
        writer = csv.DictWriter(table, csv.DictReader(example).fieldnames or ())
        writer.writeheader()
        for number in range(count):
            writer.writerow(
                {
                    "time": f"2026-03-{number // 4 + 1:02} 09:00:{number % 60:02}",
                    "user": f"user-{number % 4}",
                    "prompt": f"def late_{number}(value, limit):\n    result =",
                    "completion": " value",
                    "label": "dismissed",
                    "written": " None  # not yet",
                }
            )


def bring(place: Place, folder: Path, count: int) -> str:
    """Import a table of ``count`` old suggestions as the example does; what the command says."""
    table, logs = folder / "old.csv", folder / "logs.jsonl"
    old_table(table, count)
    logs.write_text(place.run(sys.executable, str(EXAMPLES / "import_logs.py"), str(table)))
    return place.liveweights("import", str(logs))


def test_old_logs(place: Place, tmp_path: Path) -> None:
    said = bring(place, tmp_path, 80)
    assert said.startswith("80 answers and 160 rows of feedback recorded for 'code'")
    assert place.rows(
        "select count(*) from generations where checkpoint = 'starter-1@import'"
        " and logprobs = '{}' and output_ids = '{}'"
    ) == [(80,)]
    assert json.loads(place.liveweights("status", "--json"))["live"].startswith("smollm2")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_old_logs_teach_and_are_judged(place: Place, tmp_path: Path) -> None:
    bring(place, tmp_path, 80)
    place.liveweights("cycle", "--now")
    while not (
        ended := place.rows(
            "select outcome, reason, learning, verdict from cycles where state = 'ended'"
        )
    ):
        time.sleep(0.3)
    ((outcome, reason, learning, verdict),) = ended
    assert learning["taught"] > 20, reason
    assert learning["mismatch"] is None  # nobody recorded what it was drawn from
    evidence = verdict["evidence"]
    assert evidence["reward"]["cases"] >= 4
    assert evidence["drift"] is not None
    assert evidence["offpolicy"] is None
    assert verdict["outcome"] == "PASS", reason
    # Old logs pass a gate; only users who are there can end a canary well.
    assert outcome == "rolled_back"
    assert "0 rewards" in reason


def test_the_table_that_is_shown_is_in_order(tmp_path: Path) -> None:
    logs = tmp_path / "logs.jsonl"
    script, table = EXAMPLES / "import_logs.py", EXAMPLES / "suggestions.csv"
    command = [sys.executable, str(script), str(table)]
    logs.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    code = "from liveweights.cli import main; main()"
    command = [sys.executable, "-c", code, "import", str(logs), "--check"]
    checked = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "is in order" in checked
