from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from liveweights.gate.suites.bfcl import open_bfcl
from liveweights.gate.suites.suite import SuiteError

FUNCTION = {
    "name": "math.area",
    "description": "Area of a triangle.",
    "parameters": {
        "type": "dict",
        "properties": {
            "base": {"type": "float"},
            "sizes": {"type": "tuple", "items": {"type": "any"}},
        },
        "required": ["base"],
    },
}


def one(id_: str, turns: int = 1) -> dict[str, Any]:
    return {"id": id_, "question": [[{"role": "user", "content": "Area?"}]] * turns,
            "function": [FUNCTION]}  # fmt: skip


def write(file: Path, *rows: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "BFCL_v4_simple_python.json", one("simple_0"))
    write(
        tmp_path / "possible_answer" / "BFCL_v4_simple_python.json",
        {"id": "simple_0", "ground_truth": [{"math.area": {"base": [3], "sizes": ["", [1]]}}]},
    )
    write(tmp_path / "BFCL_v4_irrelevance.json", one("irrelevance_0"))
    write(tmp_path / "BFCL_v4_exec_simple.json", one("exec_0"))
    write(tmp_path / "BFCL_v4_multi_turn_base.json", one("multi_0", turns=2))
    write(tmp_path / "possible_answer" / "BFCL_v4_multi_turn_base.json")
    return tmp_path


def test_questions_are_put_as_openai_puts_them(folder: Path) -> None:
    suite = open_bfcl("simple_python", folder)
    assert suite.card.name == "bfcl-simple_python"
    assert suite.card.version == "BFCL_v4"
    question = suite.questions["simple_0"]
    function = question.tools[0]["function"]
    assert function["name"] == "math_area"
    assert function["parameters"]["type"] == "object"
    assert function["parameters"]["properties"]["base"]["type"] == "number"
    assert function["parameters"]["properties"]["sizes"]["items"]["type"] == "string"
    assert question.expected == [{"math_area": {"base": [3], "sizes": ["", [1]]}}]


def test_irrelevance_expects_no_call(folder: Path) -> None:
    assert open_bfcl("irrelevance", folder).questions["irrelevance_0"].expected == []


@pytest.mark.parametrize(
    ("category", "why"),
    [
        ("nothing", "there is no bfcl:nothing; there are exec_simple, irrelevance"),
        ("exec_simple", "only categories whose answers are calls"),
        ("multi_turn_base", "multi_0 has 2 turns"),
    ],
)
def test_what_cannot_be_scored_is_refused(folder: Path, category: str, why: str) -> None:
    with pytest.raises(SuiteError, match=why):
        open_bfcl(category, folder)
