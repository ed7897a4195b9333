"""What the page of terms says is so: its program runs, and it names every default rule."""

from __future__ import annotations

import re

import pytest
from tests.docs.pages import ROOT

from liveweights.terms.defaults import DEFAULTS
from liveweights.terms.route import Route
from liveweights.terms.rules import ACTIONS, Conditions, Rule

PAGE = (ROOT / "docs" / "terms.md").read_text()


def test_the_program_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (program,) = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    exec(program, {})
    chosen, notices = capsys.readouterr().out.splitlines()
    assert chosen == "('openai/gpt-oss-20b',)"
    assert "Kimi K2.5" in notices


def test_every_default_rule_is_told_with_its_actions() -> None:
    told = dict(re.findall(r"^\| `([a-z-]+)` \| ([a-z, ]+) \|", PAGE, re.MULTILINE))
    expected = {
        rule.name: "all" if rule.when == ACTIONS else ", ".join(rule.when) for rule in DEFAULTS
    }
    assert expected.items() <= told.items()


@pytest.mark.parametrize("type_", [Rule, Conditions, Route])
def test_every_member_is_told(type_: type) -> None:
    assert not [name for name in type_.__struct_fields__ if f"`{name}`" not in PAGE]  # type: ignore[attr-defined]
