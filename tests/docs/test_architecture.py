"""The map of the code in docs/architecture.md names what exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from tests.docs.pages import ROOT

SOURCE = ROOT / "src" / "liveweights"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
ROW = re.compile(
    r"^\| (?P<question>[^|`]+) \| \[`(?P<shown>[^`]+)`\]\((?P<path>[^)]+)\)"
    r": `(?P<name>[\w.]+)` \|$",
    re.MULTILINE,
)
PLACES = [match.groupdict() for match in ROW.finditer(PAGE)]


def defined(path: Path) -> set[str]:
    """Classes and functions of a module, and the methods of its classes as ``Class.method``."""
    names = set[str]()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            inner = (n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef))
            names |= {f"{node.name}.{method.name}" for method in inner}
    return names


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place["question"][:40])
def test_what_decides_exists(place: dict[str, str]) -> None:
    path = (ROOT / "docs" / place["path"]).resolve()
    assert path == SOURCE / place["shown"], "the link's text and its target differ"
    assert path.is_file(), f"{place['shown']} is gone: where is {place['question']!r} decided now?"
    assert place["name"] in defined(path), (
        f"{place['shown']} has no {place['name']}: where is {place['question']!r} decided now?"
    )


def test_no_row_is_left_out() -> None:
    _, _, table = PAGE.partition("## Where each thing is decided")
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    headers = [line for line in rows if line == "| question | decided in |"]
    assert len(PLACES) == len(rows) - len(headers) >= 12


def test_every_package_is_described() -> None:
    described = set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE))
    packages = {folder.parent.name for folder in SOURCE.glob("*/__init__.py")}
    assert described == packages
