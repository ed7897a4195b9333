"""What rules say together: order of precedence, days, conditions, overrides."""

from __future__ import annotations

import datetime
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.terms.models import DAY, facts, named, overrides, questions, rules

from liveweights.catalog.licences import Duty
from liveweights.terms.decision import Override, Question
from liveweights.terms.evaluation import evaluate
from liveweights.terms.facts import Facts, Origin
from liveweights.terms.rules import Conditions, Rule

RANKS = ["own deny", "own allow", "default deny", "own warn", "default warn"]
ROUTE = Question(action="route", day=DAY)
OPEN = Origin(name="a/one", maker="DeepSeek", country="CN", licence="MIT", licence_kind="open")
MODEL = Facts(name="code", origins=(OPEN,))


def rule(name: str, then: str, **members: Any) -> Rule:
    return Rule(name=name, then=then, reason=f"reason of {name}", **members)  # type: ignore[arg-type]


def matches(one: Rule, model: Facts, question: Question = ROUTE) -> bool:
    return bool(evaluate([one], model, question, defaults=()).matched)


@given(names=st.permutations(RANKS).flatmap(lambda all_: st.integers(1, 5).map(lambda n: all_[:n])))
def test_the_strongest_rule_decides_whatever_the_order(names: list[str]) -> None:
    own = [rule(n.replace(" ", "-"), n.split()[1]) for n in names if n.startswith("own")]
    ours = [rule(n.replace(" ", "-"), n.split()[1]) for n in names if n.startswith("default")]
    decision = evaluate(own, MODEL, ROUTE, defaults=ours)
    strongest = min(names, key=RANKS.index)
    assert decision.decided_by is not None
    assert decision.decided_by.rule == strongest.replace(" ", "-")
    assert decision.outcome == strongest.split()[1]
    order = [match.rule.replace("-", " ") for match in decision.matched]
    assert order == sorted(names, key=RANKS.index)


def test_of_one_rank_the_first_decides() -> None:
    two = [rule("first", "deny"), rule("second", "deny")]
    assert [one.rule for one in evaluate(two, MODEL, ROUTE).matched] == ["first", "second"]
    decided = evaluate(two[::-1], MODEL, ROUTE).decided_by
    assert decided is not None
    assert decided.rule == "second"


@given(own=named("own"), ours=named("default"), model=facts, question=questions, over=overrides)
def test_the_outcome_follows_from_what_matched(
    own: list[Rule], ours: list[Rule], model: Facts, question: Question, over: list[Override]
) -> None:
    decision = evaluate(own, model, question, overrides=over, defaults=ours)
    standing = {(one.source, one.then) for one in decision.matched if one.aside is None}
    if ("settings", "deny") in standing:
        expected = "deny"
    elif ("settings", "allow") in standing:
        expected = "allow"
    elif ("default", "deny") in standing:
        expected = "deny"
    else:
        expected = "warn" if "warn" in {then for _, then in standing} else "allow"
    assert decision.outcome == expected
    assert decision.decided_by in (None, *decision.matched)
    assert decision.outcome == "allow" or decision.decided_by is not None
    alone = [evaluate([one], model, question, defaults=()).matched for one in (*own, *ours)]
    assert {one.rule for one in decision.matched} == {found[0].rule for found in alone if found}


@given(
    own=named("own"),
    ours=named("default"),
    added=rules("added", then="deny"),
    place=st.integers(0, 5),
    model=facts,
    question=questions,
    over=overrides,
)
def test_a_rule_that_denies_never_allows_more(
    own: list[Rule],
    ours: list[Rule],
    added: Rule,
    place: int,
    model: Facts,
    question: Question,
    over: list[Override],
) -> None:
    before = evaluate(own, model, question, overrides=over, defaults=ours)
    more = [*own[:place], added, *own[place:]]
    after = evaluate(more, model, question, overrides=over, defaults=ours)
    assert before.outcome != "deny" or after.outcome == "deny"
    assert after == before or after.outcome == "deny"
    assert set(before.matched) <= set(after.matched)


@given(own=named("own"), ours=named("default"), model=facts, question=questions, over=overrides)
def test_an_override_sets_aside_its_rule_and_no_other(
    own: list[Rule], ours: list[Rule], model: Facts, question: Question, over: list[Override]
) -> None:
    decision = evaluate(own, model, question, overrides=over, defaults=ours)
    in_force = {one.rule for one in over if one.model == model.name and one.covers(question)}
    without = evaluate(
        [one for one in own if one.name not in in_force],
        model,
        question,
        defaults=[one for one in ours if one.name not in in_force],
    )
    assert (decision.outcome, decision.decided_by) == (without.outcome, without.decided_by)
    assert decision.notices == without.notices
    aside = {one.rule for one in decision.matched if one.aside is not None}
    assert aside == {one.rule for one in decision.matched} & in_force


@given(one=rules(), model=facts, question=questions)
def test_both_ends_of_a_rule_are_days_on_which_it_is_in_force(
    one: Rule, model: Facts, question: Question
) -> None:
    always = msgspec.structs.replace(one, since=None, until=None)
    inside = (one.since or question.day) <= question.day <= (one.until or question.day)
    assert matches(one, model, question) == (matches(always, model, question) and inside)
    for edge, step in ((one.since, -1), (one.until, 1)):
        if edge is not None:
            on = replace(question, day=edge)
            beyond = replace(question, day=edge + datetime.timedelta(days=step))
            assert matches(one, model, on) == matches(always, model, on)
            assert not matches(one, model, beyond)


def test_an_override_ends_with_its_last_day() -> None:
    over = Override(model="code", rule="no", who="ada", why="agreed", until=DAY)
    no = [rule("no", "deny")]
    assert evaluate(no, MODEL, ROUTE, overrides=[over]).outcome == "allow"
    later = replace(ROUTE, day=DAY + datetime.timedelta(days=1))
    assert evaluate(no, MODEL, later, overrides=[over]).outcome == "deny"
    another = replace(over, model="other")
    assert evaluate(no, MODEL, ROUTE, overrides=[another]).outcome == "deny"


@given(one=rules(), model=facts, question=questions)
def test_a_model_matches_where_one_of_its_origins_does(
    one: Rule, model: Facts, question: Question
) -> None:
    alone = [matches(one, replace(model, origins=(o,)), question) for o in model.origins]
    assert matches(one, model, question) == any(alone)


def test_what_is_exempt_is_no_reason() -> None:
    base = Origin(name="b/base", country="FR", licence_kind="unknown")
    model = replace(MODEL, origins=(OPEN, base))
    one = rule(
        "abroad",
        "deny",
        on=Conditions(country=("CN", "FR")),
        unless=Conditions(country=("FR",), tenant=("acme",)),
    )
    because = "country CN", "country FR of b/base, which it was made from"
    for tenant, expected in (("acme", because[:1]), ("lab", because)):
        decision = evaluate([one], model, replace(ROUTE, tenant=tenant), defaults=())
        assert decision.matched[0].because == expected


@pytest.mark.parametrize(
    ("on", "question", "expected"),
    [
        ({"country": ("CN", "RU")}, {}, True),
        ({"country": ("US",)}, {}, False),
        ({"maker": ("deepseek",)}, {}, True),
        ({"licence": ("mit",)}, {}, True),
        ({"model": ("A/ONE",)}, {}, True),
        ({"model": ("code",)}, {}, True),
        ({"licence_kind": ("open",), "country": ("US",)}, {}, False),
        ({"tenant": ("acme",)}, {}, False),
        ({"tenant": ("acme",)}, {"tenant": "acme"}, True),
        ({"purpose": ("unknown",)}, {}, True),
        ({"purpose": ("commercial",)}, {"purpose": "commercial"}, True),
    ],
)
def test_all_members_must_hold_and_one_value_of_each(
    on: dict[str, Any], question: dict[str, Any], expected: bool
) -> None:
    one = rule("one", "deny", on=Conditions(**on))
    assert matches(one, MODEL, replace(ROUTE, **question)) is expected


def test_unless_exempts_each_origin_for_itself() -> None:
    base = Origin(name="b/base", country="FR", licence_kind="unknown")
    one = rule("home", "deny", unless=Conditions(country=("CN",)))
    assert not matches(one, MODEL)
    assert matches(one, replace(MODEL, origins=(OPEN, base)))
    both = rule("home", "deny", unless=Conditions(country=("CN",), tenant=("acme",)))
    assert matches(both, MODEL)
    assert not matches(both, MODEL, replace(ROUTE, tenant="acme"))
    assert matches(both, replace(MODEL, origins=(OPEN, base)), replace(ROUTE, tenant="acme"))


def test_a_match_says_of_what_in_which_origin() -> None:
    base = Origin(name="b/base", maker="Qwen", country="FR", licence_kind="unknown")
    model = replace(MODEL, origins=(OPEN, base))
    one = rule("fr", "deny", on=Conditions(country=("FR",)))
    (match,) = evaluate([one], model, ROUTE, defaults=()).matched
    assert str(match) == "reason of fr (country FR of b/base, which it was made from)"


def test_a_notice_is_the_text_of_the_duties_or_the_reason() -> None:
    duties = (
        Duty(kind="display-name", text='Show "K"', threshold=">1 user"),
        Duty(kind="notice", text="Keep it."),
    )
    model = replace(MODEL, origins=(replace(OPEN, duties=duties),))
    named_ = rule("show", "notice", on=Conditions(duty=("display-name",)))
    plain = rule("plain", "notice")
    decision = evaluate([named_, plain], model, ROUTE, defaults=())
    assert decision.notices == ('Show "K" [>1 user]', "reason of plain")
    assert (decision.outcome, decision.decided_by) == ("allow", None)
    denied = evaluate([named_, rule("no", "deny")], model, ROUTE, defaults=())
    assert denied.outcome == "deny"
    assert denied.notices == ('Show "K" [>1 user]',)
