"""What CONTRIBUTING.md and CHANGELOG.md promise about the repository."""

from __future__ import annotations

import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.docs.pages import ROOT

from liveweights import __version__

SUFFIX = re.compile(r"[a-z]_([A-Z1]{1,4})$")
# What PEFT calls an adapter's two matrices.
NAMES_OF_OTHERS = {"lora_A", "lora_B"}


def names(path: Path) -> Iterator[str]:
    with path.open("rb") as source:
        yield from (t.string for t in tokenize.tokenize(source.readline) if t.type == tokenize.NAME)


def test_every_letter_of_a_dimension_is_explained() -> None:
    _, _, table = (ROOT / "CONTRIBUTING.md").read_text().partition("## Letters of dimensions")
    rows = re.findall(r"^\| (`.+?) \|", table.partition("\n## ")[0], re.MULTILINE)
    explained = set(re.findall(r"`(\w)`", " ".join(rows)))
    used = dict[str, str]()
    for folder in ("src", "bench"):
        for path in (ROOT / folder).rglob("*.py"):
            for name in set(names(path)) - NAMES_OF_OTHERS:
                if found := SUFFIX.search(name):
                    used |= {letter: f"{name} in {path.relative_to(ROOT)}" for letter in found[1]}
    unexplained = {letter: where for letter, where in used.items() if letter not in explained}
    assert not unexplained, f"CONTRIBUTING.md does not say what these letters mean: {unexplained}"
    assert explained <= set(used), f"letters that no name has: {explained - set(used)}"


def test_named_make_targets_are_all_that_matter() -> None:
    shown = set(re.findall(r"^make ([\w-]+)", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE))
    assert {"test", "test-fast", "test-slow", "lint", "docs"} <= shown


def test_the_changelog_has_its_form() -> None:
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    for version in versions[1:]:
        assert re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version), version
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert __version__ in text
