from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from tests.gate.suites.doubles import always

from liveweights.gate.suites.catalogue import open_suite
from liveweights.gate.suites.journal import digest
from liveweights.gate.suites.run import Plan, run_suite
from liveweights.gate.suites.suite import SuiteError

CARD = """
scorer = "{scorer}"
[card]
name = "mine"
version = "3"
title = "A suite of my own"
licence = "MIT"
margin = 0.1
"""
CASES = '{"id": "a", "prompt": "2+2=", "target": 4}\n\n'
CASES += '{"id": "b", "messages": [{"role": "user", "content": "2+3="}], "target": 5}\n'


def write(folder: Path, scorer: str = "number", cases: str = CASES, code: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "suite.toml").write_text(CARD.format(scorer=scorer))
    (folder / "cases.jsonl").write_text(cases, encoding="utf-8")
    (folder / "scorer.py").write_text(code)
    return folder


def measure(name: str) -> tuple[list[float], list[float]]:
    async def go() -> tuple[list[float], list[float]]:
        async with open_suite(name) as suite:
            assert suite.card.margin == 0.1
            found = await run_suite(
                suite, always("new", "it is 4"), always("old", "it is 5"), Plan()
            )
            return found.candidate, found.incumbent

    return asyncio.run(go())


def test_a_folder_with_a_built_in_scorer(tmp_path: Path) -> None:
    assert measure(str(write(tmp_path / "mine"))) == ([1.0, 0.0], [0.0, 1.0])


def test_a_case_may_hold_any_character(tmp_path: Path) -> None:
    cases = CASES.replace("2+2=", "2\u2028+\x852=")
    assert measure(str(write(tmp_path / "mine", cases=cases))) == ([1.0, 0.0], [0.0, 1.0])


def test_a_folder_with_a_scorer_of_its_own(tmp_path: Path) -> None:
    code = "def score(answer, case):\n    return 0.5 * (str(case['target']) in answer)\n"
    folder = write(tmp_path / "mine", "scorer.py", code=code)
    assert measure(str(folder)) == ([0.5, 0.0], [0.0, 0.5])


def test_another_scorer_is_another_content(tmp_path: Path) -> None:
    async def content(scorer: str, code: str = "", cases: str = CASES) -> str:
        folder = write(tmp_path / "mine", scorer, cases, code)
        async with open_suite(str(folder)) as suite:
            return digest(suite)

    half = "def score(answer, case):\n    return 0.5\n"
    asked = [("number",), ("exact",), ("scorer.py", half), ("scorer.py", half.replace("5", "4")),
             ("number", "", CASES.replace("2+2", "1+3"))]  # fmt: skip
    found = [asyncio.run(content(*how)) for how in asked]
    assert len(set(found)) == len(asked)
    assert found[0] == asyncio.run(content("number", half))  # a file that is not the scorer


def test_a_package_is_a_folder_that_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "my_suite_package")
    (tmp_path / "my_suite_package" / "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert measure("package:my_suite_package") == ([1.0, 0.0], [0.0, 1.0])


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ({"scorer": "magic"}, "'magic' is neither a Python file nor of exact, begins"),
        ({"cases": '{"id": "a"}'}, r"cases.jsonl:1: a case has a prompt or messages"),
        ({"cases": "\nnot json"}, r"cases.jsonl:2: "),
        ({"scorer": "scorer.py"}, r"no function score\(answer, case\)"),
    ],
)
def test_mistakes_are_named_with_their_place(
    tmp_path: Path, kind: dict[str, str], words: str
) -> None:
    with pytest.raises(SuiteError, match=words):
        measure(str(write(tmp_path / "mine", **kind)))


def test_what_is_no_suite_is_refused(tmp_path: Path) -> None:
    for name, words in [
        ("poetry", "it is one of code, mathematics"),
        (str(tmp_path), "it has no suite.toml"),
        ("package:no_such_package", "there is no package"),
    ]:
        with pytest.raises(SuiteError, match=words):
            measure(name)


def test_a_score_out_of_range_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "mine", "scorer.py", code="def score(answer, case): return 2")
    with pytest.raises(SuiteError, match=r"must be in \[0, 1\]"):
        measure(str(folder))
