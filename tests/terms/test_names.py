"""Names in rules that nothing has, and what a tenant uses answers for."""

from __future__ import annotations

from tests.terms.models import DAY

from liveweights.catalog.catalogue import Catalogue
from liveweights.terms.decision import Override
from liveweights.terms.defaults import DEFAULTS
from liveweights.terms.names import find_idle, find_strange
from liveweights.terms.purposes import find_purpose
from liveweights.terms.rules import Conditions, Rule

KNOWN = Catalogue()


def rule(**conditions: Conditions) -> Rule:
    return Rule(name="one", then="deny", reason="x", **conditions)


def test_what_no_card_has_is_told_with_what_is_like_it() -> None:
    strange = rule(
        on=Conditions(maker=("Qwen", "deepseek", "unknown"), licence=("mit", "Apache")),
        unless=Conditions(maker=("Nobody At All",)),
    )
    assert list(find_strange([strange], KNOWN)) == [
        "rule one: on.maker: no card has 'Qwen'; did you mean 'Alibaba (Qwen)'?",
        "rule one: on.licence: no card has 'Apache'; did you mean 'Apache-2.0'?",
        "rule one: unless.maker: no card has 'Nobody At All'",
    ]
    assert not list(find_strange(DEFAULTS, KNOWN))


def test_an_override_of_no_rule_is_told() -> None:
    one = Override(model="code", rule="non-comercial", who="ada", why="x", until=DAY)
    assert list(find_idle([one], DEFAULTS)) == [
        "override of code: there is no rule 'non-comercial'; did you mean 'non-commercial'?"
    ]
    region = Override(model="code", rule="region", who="ada", why="x", until=DAY)
    assert not list(find_idle([region], DEFAULTS))


def test_a_tenants_purpose_is_its_own_else_that_of_all_others() -> None:
    purposes = {"acme": "commercial", "*": "research"}
    assert find_purpose(purposes, "acme") == "commercial"
    assert find_purpose(purposes, "lab") == "research"
    assert find_purpose(purposes, None) == "research"
    assert find_purpose({"acme": "commercial"}, "lab") == "unknown"
