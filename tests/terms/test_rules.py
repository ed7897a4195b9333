"""Rules as they are written, and what is said of those that are not understood."""

from __future__ import annotations

import datetime
import tomllib
from typing import Any

import msgspec
import pytest
from hypothesis import given
from tests.terms.models import rules

from liveweights.catalog.catalogue import Catalogue
from liveweights.terms.defaults import DEFAULTS
from liveweights.terms.rules import Conditions, Rule, TermsError, parse_rules

WRITTEN = """
[[terms]]
name = "us-dod"
when = ["load", "route"]
on = { country = ["CN", "RU"], tenant = ["us-dod"] }
since = 2025-12-18
then = "deny"
reason = "NDAA FY2026 section 1532"

[[terms]]
name = "ours"
unless = { maker = ["OpenAI"] }
then = "warn"
reason = "not tried yet"
"""
GOOD: dict[str, Any] = {"name": "good", "then": "deny", "reason": "because"}


def test_rules_are_read_as_they_are_written() -> None:
    assert parse_rules(tomllib.loads(WRITTEN)["terms"]) == (
        Rule(
            name="us-dod",
            when=("load", "route"),
            on=Conditions(country=("CN", "RU"), tenant=("us-dod",)),
            since=datetime.date(2025, 12, 18),
            then="deny",
            reason="NDAA FY2026 section 1532",
        ),
        Rule(
            name="ours", unless=Conditions(maker=("OpenAI",)), then="warn", reason="not tried yet"
        ),
    )


@given(one=rules())
def test_a_rule_written_as_json_is_the_same_rule(one: Rule) -> None:
    assert parse_rules([msgspec.to_builtins(one)]) == (one,)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"thn": "deny"}, "there is no member 'thn'; did you mean 'then'?"),
        ({"then": "forbid"}, "then: 'forbid' is not among its values; there are allow, warn,"),
        ({"then": "denyy"}, "then: 'denyy' is not among its values; did you mean 'deny'?"),
        ({"when": ["rout"]}, "when[0]: 'rout' is not among its values; did you mean 'route'?"),
        ({"when": []}, "when: expected `array` of length >= 1"),
        ({"when": "route"}, "when: expected `array`, got `str`"),
        ({"on": {"contry": ["CN"]}}, "on: there is no member 'contry'; did you mean 'country'?"),
        ({"on": {"country": ["China"]}}, "on.country[0]: it must be text like ^([A-Z]{2}|"),
        ({"on": {"duty": ["noncommercial"]}}, "on.duty[0]: 'noncommercial' is not among its "
         "values; did you mean 'non-commercial'?"),
        ({"unless": {"licence_kind": ["free"]}}, "unless.licence_kind[0]: 'free' is not among"),
        ({"on": {"tenant": [3]}}, "on.tenant[0]: expected `str`, got `int`"),
        ({"since": "soon"}, "since: invalid RFC3339 encoded date"),
        ({"since": "2026-02-02", "until": "2026-02-01"}, "until (2026-02-01) is before since"),
        ({"on": {"learner": ["another"]}}, "on.learner is about learning alone, and the rule is "
         "for load, route, export, release too"),
        ({"reason": ""}, "reason: expected `str` of length >= 1"),
    ],
)  # fmt: skip
def test_a_bad_rule_is_refused_by_name_and_member(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(TermsError) as caught:
        parse_rules([GOOD, {**GOOD, "name": "bad", **changes}])
    message = str(caught.value)
    assert message.startswith(f"[[terms]] 2 (bad): {said}")
    assert "\n" not in message


@pytest.mark.parametrize("member", ["name", "then", "reason"])
def test_what_a_rule_lacks_is_named(member: str) -> None:
    lacking = {name: value for name, value in GOOD.items() if name != member}
    with pytest.raises(
        TermsError, match=f"^\\[\\[terms\\]\\] 1.*it has no '{member}', which it needs"
    ):
        parse_rules([lacking])


def test_names_are_unique_also_among_the_default_rules() -> None:
    with pytest.raises(TermsError, match=r"2 \(good\): name: another rule has it too"):
        parse_rules([GOOD, GOOD])
    with pytest.raises(TermsError, match="'region' is the name of a rule that liveweights brings"):
        parse_rules([{**GOOD, "name": "region"}], [rule.name for rule in DEFAULTS])


@pytest.mark.parametrize("tables", [{"name": "x"}, "deny", 3, [3]])
def test_what_is_no_list_of_tables_is_refused(tables: Any) -> None:
    with pytest.raises(TermsError, match="terms"):
        parse_rules(tables)


def test_default_rules_are_rules_that_could_be_written() -> None:
    assert parse_rules(msgspec.to_builtins(DEFAULTS)) == DEFAULTS
    known = Catalogue().licences
    named = {id for one in DEFAULTS for c in (one.on, one.unless) for id in c.licence}
    assert named <= known.keys()
