"""The Berkeley Function-Calling Leaderboard's data, from its package: single turns, compared call
by call.

Read are the categories whose answers are calls: simple, multiple, parallel, parallel_multiple
(also as ``live_...``) and irrelevance. Those that run the calls, or have several turns, are not.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec

from liveweights.gate.suites.calls import Calls, Question
from liveweights.gate.suites.suite import Card, SuiteError

PACKAGE = "bfcl_eval"
TYPES = {"dict": "object", "float": "number", "tuple": "array", "any": "string"}
"""Of Python, as the data writes them, in JSON schema."""


def open_bfcl(category: str, folder: Path | None = None) -> Calls:
    """``simple_python``, ``multiple``, ... as the data's files are named. Raises SuiteError."""
    folder = folder or _find_data()
    file = _find(folder, category)
    answers = folder / "possible_answer" / file.name
    idle = "irrelevance" in category
    if not idle and not answers.exists():
        raise SuiteError(
            f"bfcl:{category} has no {answers.name} in {answers.parent}: only categories whose"
            " answers are calls can be scored"
        )
    expected = {} if idle else {one["id"]: one["ground_truth"] for one in _lines(answers)}
    questions = {
        one["id"]: _question(one, expected.get(one["id"], []), file) for one in _lines(file)
    }
    card = Card(
        name=f"bfcl-{category}",
        version=file.name.removesuffix(f"_{category}.json"),
        title=f"Berkeley Function-Calling Leaderboard: {category}",
        licence="Apache-2.0",
        source="PyPI bfcl-eval",
        seconds=120,
        max_tokens=512,
    )
    return Calls(card, questions)


def _find_data() -> Path:
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SuiteError("bfcl:... needs the data of `pip install --no-deps bfcl-eval`")
    return Path(spec.submodule_search_locations[0]) / "data"


def _find(folder: Path, category: str) -> Path:
    files = {one.stem.split("_", 2)[-1]: one for one in sorted(folder.glob("BFCL_v*.json"))}
    if category not in files:
        raise SuiteError(f"there is no bfcl:{category}; there are {', '.join(sorted(files))}")
    return files[category]


def _lines(file: Path) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), 1):
        if line.strip():
            try:
                yield msgspec.json.decode(line, type=dict[str, Any])
            except msgspec.DecodeError as error:
                raise SuiteError(f"{file}, line {number}: {error}") from error


def _question(one: dict[str, Any], expected: list[Any], file: Path) -> Question:
    turns = one["question"]
    if len(turns) != 1:
        raise SuiteError(f"{file.name}: {one['id']} has {len(turns)} turns; single ones are read")
    functions = one["function"]
    return Question(
        id=one["id"],
        messages=turns[0],
        tools=[_tool(function) for function in functions],
        expected=[_rename(call) for call in expected],
    )


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    parameters = _schema(function["parameters"])
    return {
        "type": "function",
        "function": {
            "name": _name(function["name"]),
            "description": function.get("description", ""),
            "parameters": parameters,
        },
    }


def _rename(call: dict[str, Any]) -> dict[str, Any]:
    return {_name(name): arguments for name, arguments in call.items()}


def _name(name: str) -> str:
    """Names with dots are no names of functions in OpenAI's dialect."""
    return name.replace(".", "_")


def _schema(value: object) -> Any:
    if isinstance(value, dict):
        members = cast(dict[str, Any], value)
        return {
            key: TYPES.get(inner, inner)
            if key == "type" and isinstance(inner, str)
            else _schema(inner)
            for key, inner in members.items()
        }
    if isinstance(value, list):
        return [_schema(inner) for inner in cast(list[object], value)]
    return value
