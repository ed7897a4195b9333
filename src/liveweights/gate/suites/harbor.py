"""Terminal tasks in Harbor's format: a folder per task, whose tests write a reward."""

from __future__ import annotations

import posixpath
import shlex
import tomllib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated

import msgspec

from liveweights import bounds
from liveweights.gate.sandbox.bubblewrap import OWN
from liveweights.gate.suites.suite import SuiteError

MIB = 1024 * 1024
TAKEN = (*OWN, *map(PurePosixPath, ("/run/terminal", "/tests", "/logs")))
"""Folders that a sandbox needs for itself, and those that a task is judged by."""


class _Timeout(msgspec.Struct, frozen=True, kw_only=True):
    timeout_sec: Annotated[float, msgspec.Meta(gt=0, le=bounds.SECONDS)] = 120.0


class _Environment(msgspec.Struct, frozen=True, kw_only=True):
    memory_mb: Annotated[int, msgspec.Meta(ge=1, le=bounds.MIB)] = 512
    storage_mb: Annotated[int, msgspec.Meta(ge=1, le=bounds.MIB)] = 64


class _Description(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of ``task.toml`` that are used here; others are metadata."""

    agent: _Timeout = _Timeout()
    verifier: _Timeout = _Timeout()
    environment: _Environment = _Environment()


@dataclass(frozen=True, slots=True)
class Task:
    """One task. ``files`` are by absolute path in the agent's root, ``tests`` the verifier's."""

    name: str
    instruction: str
    workdir: str
    files: dict[str, bytes]
    tests: dict[str, bytes]
    solution: dict[str, bytes]
    agent_seconds: float
    verifier_seconds: float
    memory: int
    disk: int


def read_tasks(folder: Path) -> list[Task]:
    """Every task below ``folder``, by name. Raises SuiteError."""
    tasks = [read_task(file.parent) for file in sorted(folder.glob("*/task.toml"))]
    if not tasks:
        raise SuiteError(f"{folder} holds no task: no folder in it has a task.toml")
    return tasks


def read_task(folder: Path) -> Task:
    """Raises SuiteError for a task that is incomplete, or needs what a sandbox cannot give."""
    try:
        description = msgspec.convert(
            tomllib.loads((folder / "task.toml").read_text()), _Description
        )
        instruction = (folder / "instruction.md").read_text()
    except FileNotFoundError as error:
        raise SuiteError(f"{folder}: there is no {error.filename}") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SuiteError(f"{folder / 'task.toml'}: {error}") from error
    tests = _read(folder / "tests", "/tests")
    if "/tests/test.sh" not in tests:
        raise SuiteError(f"{folder}: there is no tests/test.sh")
    workdir, files = _environment(folder / "environment")
    return Task(
        name=folder.name,
        instruction=instruction,
        workdir=workdir,
        files=files,
        tests=tests,
        solution=_read(folder / "solution", "/solution"),
        agent_seconds=description.agent.timeout_sec,
        verifier_seconds=description.verifier.timeout_sec,
        memory=description.environment.memory_mb * MIB,
        disk=description.environment.storage_mb * MIB,
    )


def _environment(folder: Path) -> tuple[str, dict[str, bytes]]:
    """Working folder and files of a Dockerfile that only copies: nothing is built here."""
    dockerfile = folder / "Dockerfile"
    workdir, files = "/app", {}
    if not dockerfile.is_file():
        return workdir, files
    text = dockerfile.read_text().replace("\\\n", " ")
    for number, line in enumerate(text.splitlines(), 1):
        try:
            words = shlex.split(line, comments=True)
        except ValueError as error:
            raise SuiteError(f"{dockerfile}:{number}: {error}") from error
        match [word.upper() for word in words[:1]]:
            case [] | ["FROM"] | ["LABEL"]:
                continue
            case ["WORKDIR"] if len(words) == 2:
                workdir = _normal(PurePosixPath(workdir, words[1]))
            case ["COPY"] if len(words) == 3 and not words[1].startswith("--"):
                files |= _copy(folder, words[1], PurePosixPath(workdir, words[2]), words[2])
            case _:
                raise SuiteError(
                    f"{dockerfile}:{number}: {words[0]} needs a container; a sandbox has the host's"
                    " programs, and understands FROM, WORKDIR and COPY"
                )
    inside = PurePosixPath(workdir)
    for taken in TAKEN:
        if inside.is_relative_to(taken) or taken.is_relative_to(inside):
            raise SuiteError(
                f"{dockerfile}: WORKDIR cannot be {workdir}: a sandbox needs {taken} for itself"
            )
    outside = [path for path in files if not path.startswith(f"{workdir}/")]
    if outside:
        raise SuiteError(f"{dockerfile}: {outside[0]} is not within WORKDIR {workdir}")
    return workdir, files


def _copy(folder: Path, source: str, target: PurePosixPath, written: str) -> dict[str, bytes]:
    origin = (folder / source).resolve()
    if not origin.is_relative_to(folder.resolve()) or not origin.exists():
        raise SuiteError(f"{folder}: COPY {source}: there is no such file there")
    if origin.is_dir():
        return {
            path: content
            for path, content in _read(origin, _normal(target)).items()
            if path != f"{_normal(target)}/Dockerfile"
        }
    into = target / origin.name if written.endswith("/") or written == "." else target
    return {_normal(into): origin.read_bytes()}


def _normal(path: PurePosixPath) -> str:
    """Without ``..``; two slashes in front are one."""
    return posixpath.normpath(f"/{str(path).lstrip('/')}")


def _read(folder: Path, root: str) -> dict[str, bytes]:
    if not folder.is_dir():
        return {}
    return {
        str(PurePosixPath(root, *file.relative_to(folder).parts)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
