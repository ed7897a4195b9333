from __future__ import annotations

import datetime
import tomllib

import pytest
from typer.testing import CliRunner

from liveweights.catalog.catalogue import Catalogue
from liveweights.cli import app
from liveweights.terms.book import Book
from liveweights.terms.decision import Question
from liveweights.terms.defaults import DEFAULTS
from liveweights.terms.examples import list_examples
from liveweights.terms.facts import facts_of
from liveweights.terms.names import find_strange
from liveweights.terms.rules import parse_rules

KNOWN = Catalogue()
EXAMPLES = list(list_examples(KNOWN.rules))


def outcome(name: str, day: datetime.date) -> str:
    facts = facts_of(KNOWN, KNOWN.find(name))
    book = Book([facts], [rule for _, rule in EXAMPLES])
    return book.decide(facts.name, Question(action="route", day=day)).outcome


def test_every_rule_about_makers_countries_or_licences_is_there_and_no_other() -> None:
    about = {one.name for one in KNOWN.rules if one.makers or one.countries or one.licences}
    assert {origin.name for origin, _ in EXAMPLES} == about
    names = [rule.name for _, rule in EXAMPLES]
    assert len(set(names)) == len(names)
    assert not set(names) & {rule.name for rule in DEFAULTS}
    assert list(find_strange([rule for _, rule in EXAMPLES], KNOWN)) == []


def test_what_is_in_force_denies_from_its_day_on_and_a_bill_only_warns() -> None:
    day = datetime.date(2026, 11, 1)
    assert outcome("deepseek-ai/DeepSeek-V3.2", day) == "deny"
    assert outcome("openai/gpt-oss-20b", day) == "allow"
    bills = [rule for origin, rule in EXAMPLES if origin.status != "in force"]
    assert {rule.then for rule in bills} == {"warn"}
    assert outcome("deepseek-ai/DeepSeek-V3.2", datetime.date(2024, 1, 1)) != "deny"


def test_what_is_printed_are_settings_with_source_and_no_advice() -> None:
    printed = CliRunner().invoke(app, ["terms", "examples"])
    assert printed.exit_code == 0, printed.output
    rules = parse_rules(tomllib.loads(printed.stdout)["terms"], [rule.name for rule in DEFAULTS])
    assert rules == tuple(rule for _, rule in EXAMPLES)
    assert printed.stdout.count("Not legal advice.") == len(EXAMPLES)
    for origin, _ in EXAMPLES:
        assert origin.source in printed.stdout


@pytest.mark.parametrize(("place", "code"), [("US", 0), ("Mars", 2)])
def test_one_jurisdiction_is_chosen(place: str, code: int) -> None:
    result = CliRunner().invoke(app, ["terms", "examples", "--jurisdiction", place])
    assert result.exit_code == code
    if code:
        assert "there are" in result.stderr
    else:
        expected = sum(origin.jurisdiction == place for origin, _ in EXAMPLES)
        assert len(tomllib.loads(result.stdout)["terms"]) == expected
