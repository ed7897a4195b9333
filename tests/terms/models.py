"""Rules, models and questions for property tests."""

from __future__ import annotations

import datetime
from itertools import combinations
from typing import get_args

from hypothesis import strategies as st

from liveweights.catalog.filters import UNKNOWN
from liveweights.catalog.licences import Duty, DutyKind
from liveweights.terms.decision import Override, Question
from liveweights.terms.facts import Facts, LicenceKind, Origin
from liveweights.terms.rules import ACTIONS, Conditions, Rule

DAY = datetime.date(2026, 11, 29)
COUNTRIES = ("CN", "FR", "US", UNKNOWN)
MAKERS = ("DeepSeek", "Mistral AI", "OpenAI", UNKNOWN)
LICENCES = ("Apache-2.0", "LicenseRef-Gemma-Terms", "LicenseRef-Own", UNKNOWN)
KINDS = get_args(LicenceKind)
DUTIES = get_args(DutyKind)
TENANTS = ("acme", "lab")
PURPOSES = ("commercial", "research", UNKNOWN)

days = st.dates(datetime.date(2026, 11, 20), datetime.date(2026, 12, 10))


def some(values: tuple[str, ...], most: int = 2) -> st.SearchStrategy[tuple[str, ...]]:
    """A few of them, in their order; none is the simplest."""
    counts = range(most + 1)
    return st.sampled_from([one for n in counts for one in combinations(values, n)])


duties = some(DUTIES, 3).map(
    lambda kinds: tuple(Duty(kind=kind, text=f"of {kind}") for kind in kinds)  # type: ignore[arg-type]
)
origins = st.builds(
    Origin,
    name=st.sampled_from(["a/one", "b/two"]),
    maker=st.sampled_from(MAKERS),
    country=st.sampled_from(COUNTRIES),
    licence=st.sampled_from(LICENCES),
    licence_kind=st.sampled_from(KINDS),
    duties=duties,
)
facts = st.builds(
    Facts,
    name=st.just("code"),
    origins=st.lists(origins, min_size=1, max_size=2).map(tuple),
    context=st.none() | st.integers(1, 100_000),
)
questions = st.builds(
    Question,
    action=st.sampled_from(ACTIONS),
    day=days,
    tenant=st.none() | st.sampled_from(TENANTS),
    purpose=st.sampled_from(PURPOSES),
    learner=st.sampled_from(["itself", "another"]),
)


def conditions(learner: bool = False) -> st.SearchStrategy[Conditions]:
    return st.builds(
        Conditions,
        model=some(("code", "a/one", "other"), 1),
        licence=some(LICENCES),
        licence_kind=some(KINDS),
        duty=some(DUTIES, 3),
        country=some(COUNTRIES),
        maker=some(MAKERS),
        tenant=some(TENANTS),
        purpose=some(PURPOSES),
        learner=some(("itself", "another")) if learner else st.just(()),
    )


@st.composite
def rules(draw: st.DrawFn, name: str = "rule", then: str | None = None) -> Rule:
    learning = draw(st.booleans())
    when = ("learn",) if learning else draw(some(ACTIONS, 5).filter(bool))
    dates = sorted(draw(st.tuples(days, days)))
    return Rule(
        name=name,
        when=when,  # type: ignore[arg-type]
        on=draw(st.just(Conditions()) | conditions(learning)),
        unless=draw(st.just(Conditions()) | conditions(learning)),
        since=draw(st.none() | st.just(dates[0])),
        until=draw(st.none() | st.just(dates[1])),
        then=then or draw(st.sampled_from(["allow", "warn", "deny", "notice"])),  # type: ignore[arg-type]
        reason=f"reason of {name}",
    )


def named(prefix: str, most: int = 3) -> st.SearchStrategy[list[Rule]]:
    return st.integers(0, most).flatmap(
        lambda count: st.tuples(*(rules(f"{prefix}-{n}") for n in range(count))).map(list)
    )


overrides = st.lists(
    st.builds(
        Override,
        model=st.sampled_from(["code", "other"]),
        rule=st.sampled_from(["own-0", "own-1", "default-0", "default-1"]),
        who=st.just("ada"),
        why=st.just("agreed in writing"),
        until=days,
        action=st.none() | st.sampled_from(ACTIONS),
        tenant=st.none() | st.sampled_from(TENANTS),
    ),
    max_size=3,
)
