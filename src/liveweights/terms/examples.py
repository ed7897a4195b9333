"""Rules of governments on origin, as examples of rules of one's own. Not legal advice."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Iterator

from liveweights.catalog.surroundings import OriginRule
from liveweights.terms.rules import Conditions, Rule, Then

IN_FORCE = "in force"
LONGEST_NAME, LONGEST_REASON = 64, 1000


def list_examples(rules: Iterable[OriginRule]) -> Iterator[tuple[OriginRule, Rule]]:
    """For each rule about makers, countries or licences a rule of terms on each of the three: it is
    about models that are any of them. ``deny`` where it is in force, else ``warn``."""
    for rule in rules:
        for member, conditions in (
            ("makers", Conditions(maker=rule.makers)),
            ("countries", Conditions(country=rule.countries)),
            ("licences", Conditions(licence=rule.licences)),
        ):
            if conditions:
                yield rule, _example(rule, member, conditions)


def _example(rule: OriginRule, member: str, conditions: Conditions) -> Rule:
    several = sum(map(bool, (rule.makers, rule.countries, rule.licences))) > 1
    then: Then = "deny" if rule.status == IN_FORCE else "warn"
    return Rule(
        name=_name(rule.name, f"-{member}" if several else ""),
        when=("load", "route"),
        on=conditions,
        since=_day(rule.effective) if then == "deny" else None,
        then=then,
        reason=f"{rule.name}: {rule.restricts}"[:LONGEST_REASON],
    )


def _name(name: str, ending: str) -> str:
    letters = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return letters[: LONGEST_NAME - len(ending)].rstrip("-") + ending


def _day(when: str | None) -> datetime.date | None:
    """None where only the month or the year is known."""
    try:
        return datetime.date.fromisoformat(when or "")
    except ValueError:
        return None
