"""A suite of your own: a folder with ``suite.toml``, and cases or terminal tasks."""

from __future__ import annotations

import importlib.resources
import importlib.util
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from liveweights.gate.suites.questions import SCORERS, Questions, Score
from liveweights.gate.suites.suite import Card, Case, SuiteError


class Description(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``suite.toml``: the card, and for questions the scorer: a built-in one or a Python file."""

    card: Card
    scorer: str = "exact"


def find_package(name: str) -> Path:
    """The folder of an installed package that is a suite. Raises SuiteError."""
    try:
        folder = Path(str(importlib.resources.files(name)))
    except ModuleNotFoundError as error:
        raise SuiteError(f"there is no package {name!r}; install it, or check its name") from error
    return folder


def read_description(folder: Path) -> Description:
    """Raises SuiteError."""
    file = folder / "suite.toml"
    try:
        return msgspec.convert(tomllib.loads(file.read_text()), Description)
    except FileNotFoundError as error:
        raise SuiteError(f"{folder} is no suite: it has no suite.toml") from error
    except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise SuiteError(f"{file}: {error}") from error


def open_questions(folder: Path, description: Description) -> Questions:
    """Cases of ``cases.jsonl`` with the scorer. Raises SuiteError."""
    name = description.scorer
    return Questions(
        description.card,
        _read_cases(folder / "cases.jsonl"),
        _scorer(folder, name),
        scorer=name.encode() if name in SCORERS else (folder / name).read_bytes(),
    )


def _read_cases(file: Path) -> list[Case]:
    cases: list[Case] = []
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError as error:
        raise SuiteError(f"there is no {file}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            case = msgspec.json.decode(line, type=Case)
        except msgspec.DecodeError as error:
            raise SuiteError(f"{file}:{number}: {error}") from error
        if (case.prompt is None) == (case.messages is None):
            raise SuiteError(f"{file}:{number}: a case has a prompt or messages, one of the two")
        cases.append(case)
    return cases


def _scorer(folder: Path, name: str) -> Score:
    if name in SCORERS:
        return SCORERS[name]
    file = folder / name
    if file.suffix != ".py" or not file.is_file():
        known = ", ".join(SCORERS)
        raise SuiteError(f"{folder}: the scorer {name!r} is neither a Python file nor of {known}")
    spec = importlib.util.spec_from_file_location(f"liveweights_scorer_{folder.name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    score: Callable[[str, dict[str, Any]], float] | None = getattr(module, "score", None)
    if score is None:
        raise SuiteError(f"{file} has no function score(answer, case)")

    async def run(answer: str, case: Case) -> tuple[float, str]:
        value = float(score(answer, msgspec.to_builtins(case)))
        if not 0 <= value <= 1:
            raise SuiteError(f"{file}: score() gave {value} for {case.id!r}; it must be in [0, 1]")
        return value, ""

    return run
