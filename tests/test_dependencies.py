"""What an installation without extras has is enough for every command to be found and explained."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CHECK = """
import importlib, json, sys
from importlib.abc import MetaPathFinder

class Missing(MetaPathFinder):
    def __init__(self, names):
        self.names = names
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing(frozenset(json.load(sys.stdin))))
from liveweights.cli import COMMANDS
faults = {}
for command, place in COMMANDS.items():
    try:
        importlib.import_module(place.partition(":")[0])
    except ImportError as error:
        faults[command] = str(error)
importlib.import_module("liveweights.app")
print(json.dumps(faults))
"""


def _name(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _needed(distribution: str, extras: frozenset[str] = frozenset()) -> set[tuple[str, str]]:
    """``distribution`` and all that it asks for here, with an extra or "" each."""
    found: set[tuple[str, str]] = set()
    waiting = [(distribution, extra) for extra in ("", *extras)]
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        found.add(one)
        try:
            lines = requires(one[0]) or ()
        except PackageNotFoundError:  # an extra's that is not here
            continue
        for line in lines:
            asked = Requirement(line)
            if asked.marker is None or asked.marker.evaluate({"extra": one[1]}):
                waiting += [(_name(asked.name), extra) for extra in ("", *asked.extras)]
    return found


def _only_with_extras() -> list[str]:
    """Importable names that nothing brings which an installation without extras has."""
    base = {name for name, _ in _needed("liveweights")}
    return [
        module
        for module, distributions in packages_distributions().items()
        if not base & {_name(one) for one in distributions}
    ]


def test_the_packages_of_the_extras_are_told_apart() -> None:
    missing = set(_only_with_extras())
    assert missing >= {"llvmlite", "mcp", "pygls", "pyarrow", "opentelemetry", "pytest"}
    assert not missing & {"torch", "psycopg", "transformers", "starlette", "typer", "numpy"}


def test_what_is_imported_anywhere_is_brought_by_an_installation_or_an_extra() -> None:
    """What only developers have, tests would find and users not."""
    ours = {"dev", "browser", "bench"}
    extras = frozenset(PROJECT["project"]["optional-dependencies"]) - ours
    brought = {name for name, _ in _needed("liveweights", extras)}
    here = packages_distributions()
    imported: set[str] = set()
    for file in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                imported |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                imported.add(node.module.partition(".")[0])
    assert {"torch", "llvmlite", "httpx2"} <= imported
    lacking = {
        name
        for name in imported & set(here)
        if not brought & {_name(distribution) for distribution in here[name]}
    }
    assert lacking == set()


def test_no_command_needs_an_extra_to_be_found() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHECK],
        input=json.dumps(_only_with_extras()),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}
