"""What the rules say of one model, for people and for programs."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Any, get_args

import msgspec

from liveweights.catalog.filters import UNKNOWN
from liveweights.catalog.surroundings import OriginRule
from liveweights.cli.reference import toml_value
from liveweights.terms.decision import Decision, Question
from liveweights.terms.facts import Facts
from liveweights.terms.rules import ACTIONS, Learner, Rule

WIDTH = 20


def list_questions(day: datetime.date, tenant: str | None, purpose: str) -> Iterator[Question]:
    """All that may be done with a model; that another learns from it is asked for itself."""
    for action in ACTIONS:
        learners: tuple[Learner, ...] = get_args(Learner) if action == "learn" else ("itself",)
        for learner in learners:
            yield Question(action=action, day=day, tenant=tenant, purpose=purpose, learner=learner)


def told(facts: Facts, decided: Iterable[tuple[Question, Decision]]) -> dict[str, Any]:
    return asdict(facts) | {
        "decisions": [{"question": asdict(one), **asdict(decision)} for one, decision in decided]
    }


def terms_lines(facts: Facts, decided: Iterable[tuple[Question, Decision]]) -> Iterator[str]:
    """Whose model it is, and a line for each question, below it all else that matched."""
    yield facts.name
    for number, origin in enumerate(facts.origins):
        made = "made from " if number else ""
        licence = f"licence {origin.licence} ({origin.licence_kind})"
        yield f"  {made}{origin.name}: maker {origin.maker}, country {origin.country}, {licence}"
    for asked, decision in decided:
        what = asked.action + (" (by another)" if asked.learner == "another" else "")
        by = decision.decided_by
        yield f"  {what:<{WIDTH}}{decision.outcome}" + (f" by {by.rule}: {by}" if by else "")
        for match in decision.matched:
            aside = match.aside
            if aside is not None:
                until = f"until {aside.until}"
                yield _more(f"{match.rule} is set aside by {aside.who} {until}: {aside.why}")
            elif match is not by and match.then != "notice":
                yield _more(f"also {match.then} by {match.rule}: {match}")
        for text in decision.notices:
            yield _more(f"owed: {text}")


def example_lines(origin: OriginRule, rule: Rule) -> Iterator[str]:
    """A rule as TOML, below what it is an example of."""
    about = (
        f"{origin.name} ({origin.jurisdiction}, {origin.status}, {origin.effective or UNKNOWN})",
        f"It is about {origin.who}. Confidence: {origin.confidence}. Not legal advice.",
        f"Read at {origin.source}",
        f"An operator may: {origin.operator_rule}" if origin.operator_rule else "",
    )
    for text in about:
        if text:
            yield f"# {' '.join(text.split())}"
    yield "[[terms]]"
    for name, value in msgspec.to_builtins(rule).items():
        yield f"{name} = {toml_value(value)}"
    yield ""


def _more(text: str) -> str:
    return " " * (WIDTH + 2) + text
