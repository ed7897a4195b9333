"""The shape of the code: what may import what, and which package a table belongs to.

What breaks a rule today is listed beside it; a list must name just what is there, so that it can
only shrink.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import pytest

import liveweights

ROOT = Path(__file__).parents[1] / "src" / "liveweights"

STAGES = ("serve", "engines", "record", "learn", "gate", "release")
"""In the order of the circle; each is a package."""

BEFORE = {
    "serve": {"engines", "record"},  # which it asks and fills
    "engines": set[str](),
    "record": set[str](),
    "learn": {"engines", "record"},
    "gate": {"record", "learn"},
    "release": {"engines", "record", "learn", "gate"},
}
"""The stages whose types each may name."""

SHARED = {
    "engines.experts",
    "engines.json_schema",
    "engines.limits",
    "engines.protocol",
    "engines.text",
    "engines.thinking",
    "gate.distributions",
    "gate.evalues",
    "gate.monitors",
    "gate.settings",
    "gate.statistics",
    "learn.conduct",
    "learn.drift",
    "learn.job",
    "learn.passages",
    "learn.refusals",
    "learn.rewards",
    "learn.settings",
    "learn.shares",
    "learn.truth",
    "learn.voters",
    "record.backlog",
    "record.clean",
    "record.errors",
    "record.example",
    "record.feedback",
    "record.generation",
    "record.response",
    "record.shadow_answer",
    "record.split",
    "record.survival",
}
"""Types, and pure functions of them. Whatever else one stage has of another is machinery."""

OWNERS_FUNCTIONS = {
    ("gate", "record.holds"),
    ("release", "record.answers"),
}
"""Functions of a table's owner, by which another stage reads it."""
LATER = {
    ("release", "serve"),  # where the circle closes: its router is told what may answer
}
APP = {"cli"}
"""What may import what wires everything together."""
SETTINGS = {"config", "model_checks", "model_table"}
"""The settings of everything, of one model, and whether they fit together."""
CONFIG = {"app", "cli"}
FILE_CIRCLES = set[tuple[str, ...]]()
PACKAGE_CIRCLES = set[tuple[str, ...]]()

OWNERS = {
    "access": {"audit", "console_invitations", "console_secrets", "console_users"},
    "adoption": {"adoption_snapshots"},
    "agentdb": {"databases"},
    "cycle": {"baselines", "cycles", "leases", "pauses"},
    "documents": {"document_folders", "documents", "passages"},
    "gate": {"drafts"},
    "meter": {
        "allowance_leases", "allowances", "api_keys", "invoices", "ledger", "ledger_days",
        "plan_changes", "prices", "sold_models", "tenant_credits", "tenants",
    },
    "record": {
        "archives", "conversation_items", "conversations", "cycle_rows", "engine_metrics",
        "feedback", "feedback_keys", "follow_ups", "forgotten", "generations", "hearings",
        "last_seen", "quarantine", "responses", "rollup_histograms", "rollups", "seals", "series",
        "dropped_reads", "shadow_answers", "upstream_objects",
    },
    "release": {"aliases", "deployments", "model_states", "models", "releases", "warm"},
    "scoreboard": {"score_results", "score_runs"},
    "terms": {"terms_denials", "terms_overrides"},
    "weights": {"checkpoint_parents", "checkpoints", "vocabularies"},
}  # fmt: skip
"""Each table's package. Views and functions of a table's owner are for everyone."""
PARTS = {"feedback_undated", "generations_undated", "hypertable"}
"""Partitions, and what becomes one."""
READS = set[tuple[str, str]]()
WRITES = set[tuple[str, str]]()

STATEMENT = re.compile(r"\b(select|insert into|delete from|lock table|update \w+)\b")
TABLE = re.compile(r"\b(insert into|delete from|update|from|join|lock table)\s+(?:only\s+)?(\w+)")
MADE = re.compile(
    r"^\s*(?:create table (\w+)|alter table (\w+) rename to (\w+)|drop table (\w+))", re.MULTILINE
)
WRITING = {"insert into", "delete from", "update"}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module below the package, by its name within it; a package by its own."""
    found: dict[str, ast.Module] = {}
    for file in sorted(ROOT.rglob("*.py")):
        parts = file.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(file.read_text(encoding="utf-8"))
    return found


@cache
def imports() -> frozenset[tuple[str, str]]:
    """(importing module, imported module), of this package, wherever the statement stands."""
    return frozenset(
        (name, target) for name, tree in modules().items() for target in imported(tree)
    )


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            package, _, inner = node.module.partition(".")
            if package == "liveweights":
                for alias in node.names:
                    one = f"{inner}.{alias.name}".lstrip(".")
                    yield one if one in modules() else inner
        elif isinstance(node, ast.Import):
            for alias in node.names:
                package, _, inner = alias.name.partition(".")
                if package == "liveweights":
                    yield inner


def package(module: str) -> str:
    return module.partition(".")[0]


def circles(edges: Iterable[tuple[str, str]]) -> set[tuple[str, ...]]:
    """What reaches itself, in groups that all reach one another."""
    ahead: Mapping[str, set[str]] = defaultdict(set)
    for one, other in edges:
        if one != other:
            ahead[one].add(other)
    reached = {one: reach(one, ahead) for one in list(ahead)}
    return {
        tuple(sorted(other for other in reached[one] if one in reached.get(other, ())))
        for one in reached
        if one in reached[one]
    }


def reach(start: str, ahead: Mapping[str, set[str]]) -> set[str]:
    found, waiting = set[str](), [start]
    while waiting:
        for other in ahead.get(waiting.pop(), ()):
            if other not in found:
                found.add(other)
                waiting.append(other)
    return found


def between_stages() -> set[tuple[str, str]]:
    return {
        (one, other)
        for one, other in imports()
        if {package(one), package(other)} <= set(STAGES) and package(one) != package(other)
    }


def test_no_stage_knows_one_that_comes_after_it() -> None:
    wrong = {
        (package(one), package(other))
        for one, other in between_stages()
        if package(other) not in BEFORE[package(one)]
    }
    assert wrong == LATER


def test_stages_share_types_and_no_machinery() -> None:
    wrong = {
        (package(one), other)
        for one, other in between_stages()
        if other not in SHARED and (package(one), package(other)) not in LATER
    }
    assert wrong == OWNERS_FUNCTIONS


@pytest.mark.parametrize("name", sorted(SHARED))
def test_what_is_shared_does_nothing_by_itself(name: str) -> None:
    tree = modules()[name]
    assert not any(
        isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith) for node in ast.walk(tree)
    )
    assert "store" not in {package(other) for other in imported(tree)}


def test_only_commands_import_what_wires_everything() -> None:
    assert {package(one) for one, other in imports() if package(other) == "app"} - {"app"} <= APP


def test_settings_are_handed_on_in_parts() -> None:
    asking = {package(one) for one, other in imports() if other in SETTINGS}
    assert asking - SETTINGS == CONFIG


def test_there_is_no_circle_of_files() -> None:
    assert circles(imports()) == FILE_CIRCLES


def test_there_is_no_circle_of_packages() -> None:
    edges = {(package(one), package(other)) for one, other in imports() if one and other}
    assert circles(edges) == PACKAGE_CIRCLES


def test_every_package_is_told_in_one_line() -> None:
    told = re.findall(r"^    (\w+) ", liveweights.__doc__ or "", flags=re.MULTILINE)
    packages = {folder.parent.name for folder in ROOT.glob("*/__init__.py")}
    assert set(told) == packages
    assert len(told) == len(packages)


def statements() -> Iterator[tuple[str, str]]:
    """(package, SQL), of strings in code and of files."""
    for name, tree in modules().items():
        told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr):
                parts = (p.value if isinstance(p, ast.Constant) else "x" for p in node.values)
                yield package(name), "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and id(node) not in told:
                yield package(name), str(node.value)
    for file in ROOT.rglob("*.sql"):
        if file.parent.name != "migrations":
            yield file.relative_to(ROOT).parts[0], file.read_text(encoding="utf-8")


def tables() -> set[str]:
    """Those that the migrations, one after the other, leave."""
    made = set[str]()
    for file in sorted(ROOT.rglob("migrations/*.sql")):
        for created, old, new, dropped in MADE.findall(file.read_text("utf-8")):
            made -= {old, dropped}
            made |= {created, new} - {""}
    return made


def test_each_table_is_of_one_package() -> None:
    owner = {table: name for name, tables in OWNERS.items() for table in tables}
    assert tables() - PARTS == set(owner)
    reads, writes = set[tuple[str, str]](), set[tuple[str, str]]()
    for name, sql in statements():
        if STATEMENT.search(sql):
            for verb, table in TABLE.findall(sql):
                if table in owner and owner[table] != name:
                    (writes if verb in WRITING else reads).add((name, table))
    assert reads == READS
    assert writes == WRITES
