from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from liveweights.gate.suites.harbor import read_task, read_tasks
from liveweights.gate.suites.journal import digest
from liveweights.gate.suites.suite import SuiteError
from liveweights.gate.suites.terminal import TASKS, open_terminal

TOML = """
[agent]
timeout_sec = 7
[metadata]
author = "x"
[environment]
memory_mb = 9
"""


def write(folder: Path, dockerfile: str = "", **files: str) -> Path:
    contents = {
        "task.toml": TOML,
        "instruction.md": "Do it.",
        "tests/test.sh": "echo 1 > /logs/verifier/reward.txt",
        "environment/Dockerfile": dockerfile,
        "environment/data.txt": "data",
        "environment/sub/more.txt": "more",
    } | files
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def test_a_task_is_read_with_what_its_dockerfile_copies(tmp_path: Path) -> None:
    lines = "FROM debian  # any\nWORKDIR /work\nCOPY data.txt \\\n  in/\nCOPY sub .\n"
    task = read_task(write(tmp_path / "one", lines))
    assert task.files == {"/work/in/data.txt": b"data", "/work/more.txt": b"more"}
    assert (task.name, task.workdir, task.agent_seconds) == ("one", "/work", 7)
    assert task.memory == 9 * 1024 * 1024
    assert "/tests/test.sh" in task.tests


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("FROM a\nRUN apt-get install gcc\n", "Dockerfile:2: RUN needs a container"),
        ("COPY --from=x a b\n", "COPY needs a container"),
        ("COPY ../../secret .\n", "no such file there"),
        ("WORKDIR /\n", "WORKDIR cannot be /: a sandbox needs /bin for itself"),
        ("WORKDIR /usr\n", "needs /usr/bin"),
        ("WORKDIR /lib/x\n", "needs /lib"),
        ("WORKDIR /app/../usr/lib/x\n", "cannot be /usr/lib/x"),
        ("WORKDIR /etc\n", "needs /etc/alternatives"),
        ("WORKDIR /tests/work\n", "needs /tests"),
        ("WORKDIR /logs\n", "needs /logs"),
        ("WORKDIR\n", "Dockerfile:1: WORKDIR needs"),
        ("WORKDIR '/app\n", "Dockerfile:1: No closing quotation"),
        ("COPY data.txt ../data.txt\n", "/data.txt is not within WORKDIR /app"),
        ("COPY data.txt /etc/passwd\n", "/etc/passwd is not within WORKDIR /app"),
    ],
)
def test_what_a_sandbox_cannot_give_is_refused(tmp_path: Path, dockerfile: str, words: str) -> None:
    with pytest.raises(SuiteError, match=words):
        read_task(write(tmp_path / "one", dockerfile))


def test_missing_parts_are_named(tmp_path: Path) -> None:
    folder = write(tmp_path / "one")
    (folder / "tests" / "test.sh").unlink()
    with pytest.raises(SuiteError, match=r"no tests/test\.sh"):
        read_task(folder)
    (folder / "instruction.md").unlink()
    with pytest.raises(SuiteError, match=r"no .*instruction\.md"):
        read_task(folder)
    with pytest.raises(SuiteError, match="holds no task"):
        read_tasks(tmp_path / "empty")


def test_our_own_tasks_are_whole() -> None:
    tasks = read_tasks(TASKS)
    assert len(tasks) == 10
    for task in tasks:
        assert task.instruction.strip()
        assert "/solution/solve.sh" in task.solution


@pytest.mark.parametrize(
    "name", ["task.toml", "instruction.md", "tests/test.sh", "environment/data.txt"]
)
def test_another_task_is_another_content(tmp_path: Path, name: str) -> None:
    nowhere: Any = None  # nothing is run
    write(tmp_path / "one", "WORKDIR /work\nCOPY data.txt .\n")
    before = digest(open_terminal(nowhere, tmp_path))
    assert digest(open_terminal(nowhere, tmp_path)) == before
    path = tmp_path / "one" / name
    path.write_text(path.read_text().replace("9", "8") + "\n")
    assert digest(open_terminal(nowhere, tmp_path)) != before
