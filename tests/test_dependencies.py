"""What an installation without extras has is enough for every command to be found and explained."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib.metadata import packages_distributions, requires

from packaging.requirements import Requirement

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
        for line in requires(one[0]) or ():
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
