"""What choosing a model costs a request: a decision by terms, and a route among many models.

Models of the catalogue, with rules on their makers, countries, licences and duties, on tenants,
purposes and days. Each kind of question is asked of many tenants in turn: again and again, as
requests ask it (it is kept), and for the first time (nothing is kept). Processor time, the least
of the rounds: what else the machine does only adds to it.

Ends with status 1 if any of them takes 20 us or more.
"""

from __future__ import annotations

import datetime
import itertools
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from _report import Cell, arguments, finish, table
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.filters import UNKNOWN
from liveweights.meter.keys import Client
from liveweights.serve.api.choice import Choices
from liveweights.serve.api.needs import read_needs
from liveweights.serve.models import Models
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms
from liveweights.terms.decision import Question
from liveweights.terms.facts import Facts, facts_of
from liveweights.terms.roster import AUTO, Roster
from liveweights.terms.route import Route, parse_route
from liveweights.terms.rules import Rule, parse_rules

GOAL_US = 20.0
DAY = datetime.date(2026, 11, 29)
TENANTS = tuple(f"tenant-{number}" for number in range(200))
PURPOSES = ("commercial", "research", UNKNOWN)
SEED = 7


@dataclass(frozen=True, slots=True)
class Fresh:
    """Nothing has been asked of it yet."""

    roster: Roster
    choices: Choices


def main() -> None:
    options = arguments(
        __doc__ or "",
        models=(50, "that the service has"),
        rules=(50, "of the operator's, beside the default ones"),
        rounds=(20, "of each kind of question"),
    )
    if options.quick:
        options.rounds = 5
    random.seed(SEED)
    models, rules = _models(options.models), _rules(options.rules)
    candidates, routes = _candidates(models), _routes()
    questions = [
        Question(action="route", day=DAY, tenant=tenant, purpose=purpose)
        for tenant, purpose in itertools.product(TENANTS, PURPOSES)
    ]
    names = [facts.name for facts in models]
    purposes = {tenant: PURPOSES[number % 3] for number, tenant in enumerate(TENANTS)}

    def fresh() -> Fresh:
        terms = Terms(candidates, rules, purposes=purposes)
        return Fresh(terms.roster, Choices(terms, Models()))

    def decide(one: Fresh, question: Question, number: int) -> None:
        one.roster.book.decide(names[number % len(names)], question)

    def denied(one: Fresh, question: Question, _: int) -> None:
        one.roster.book.denied(question)

    def route(one: Fresh, question: Question, number: int) -> None:
        one.roster.choose(AUTO, question, routes[number % len(routes)])

    def new(one: Fresh, question: Question, number: int) -> None:
        written = {"min_context": 1000 + number, "deny": {"countries": ["CN"]}}
        one.roster.choose(AUTO, question, parse_route(written))

    def parsed(one: Fresh, question: Question, number: int) -> None:
        one.roster.choose(AUTO, question, parse_route(_WRITTEN[number % len(_WRITTEN)]))

    def request(one: Fresh, question: Question, number: int) -> None:
        tenant = question.tenant or ""
        wish = _WRITTEN[number % len(_WRITTEN)]
        needs = read_needs(_ASKED[number % len(_ASKED)])
        first = one.choices.choose(Client(tenant), AUTO, wish, needs)[0]
        one.choices.headers(first, tenant)

    kinds = {
        "terms of one model": decide,
        "terms of all models": denied,
        "a route, by terms and what is asked": route,
        "the same, with reading the route": parsed,
        "a route of its own for each request, read": new,
        "all that a request is asked, what it needs and its answer's headers": request,
    }
    figures: dict[str, dict[str, float]] = {}
    lines: list[tuple[Cell, ...]] = []
    for name, ask in kinds.items():
        again, first = _measure(fresh, ask, questions, options.rounds)
        figures[name] = {"again_us": again, "first_us": first}
        lines.append((name, again, first))
    table(
        f"{len(models)} models, {len(rules)} rules: us per request",
        ("", "asked before", "asked for the first time"),
        lines,
    )
    worst = max(max(one.values()) for one in figures.values())
    sizes = {"models": len(models), "rules": len(rules), "goal_us": GOAL_US}
    finish("terms", options, {**sizes, **figures}, {})
    if worst >= GOAL_US:
        sys.exit(1)


def _measure(
    fresh: Callable[[], Fresh],
    ask: Callable[[Fresh, Question, int], None],
    questions: Sequence[Question],
    rounds: int,
) -> tuple[float, float]:
    """Microseconds for a question that was asked before, and for a new one."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        one = fresh()
        for before in (False, True):
            began = time.process_time()
            for number, question in enumerate(questions):
                ask(one, question, number)
            spent = time.process_time() - began
            times[not before].append(1e6 * spent / len(questions))
    again, first = (min(one) for one in times)
    return again, first


def _models(count: int) -> list[Facts]:
    known = Catalogue()
    cards = list(known.cards.values())
    chosen = itertools.islice(itertools.cycle(cards), 0, count * 3, 3)
    return [facts_of(known, card, f"model-{number}") for number, card in enumerate(chosen)]


def _rules(count: int) -> tuple[Rule, ...]:
    """Of every kind; a few of them deny."""
    known = Catalogue()
    makers = sorted({card.maker for card in known.cards.values() if card.maker})
    countries = sorted({card.country for card in known.cards.values() if card.country})
    licences = sorted(known.licences)
    kinds = [
        {"maker": makers[:3], "tenant": list(TENANTS[:5])},
        {"country": countries[:2], "purpose": ["commercial"]},
        {"licence": licences[:4]},
        {"licence_kind": ["restricted"], "tenant": list(TENANTS[5:9])},
        {"duty": ["acceptable-use", "notice"], "purpose": ["research"]},
    ]
    return parse_rules(
        [
            {
                "name": f"rule-{number}",
                "on": {**kinds[number % len(kinds)], "maker": random.sample(makers, 4)},
                "since": DAY - datetime.timedelta(days=number),
                "then": "deny" if number % 10 == 0 else "warn",
                "reason": "it is measured",
            }
            for number in range(count)
        ]
    )


def _candidates(models: Sequence[Facts]) -> list[Candidate]:
    return [
        Candidate(
            facts=facts,
            input=random.uniform(0.05, 5),
            output=random.uniform(0.2, 20),
            local=number % 3 == 0,
            learns=number % 5 == 0,
            scores={"code": random.random()},
            can={"chat": True, "tools": number % 3 < 2, "json": number % 4 < 3},
        )
        for number, facts in enumerate(models)
    ]


_WRITTEN: tuple[dict[str, object], ...] = (
    {},
    {"deny": {"countries": ["CN", "RU"]}, "max_price": 10},
    {"allow": {"licence_kinds": ["open"]}, "min_context": 8192},
    {"max_price": {"input": 3, "output": 15}, "suite": "code", "min_score": 0.3},
    {"local_only": True},
)


_ASKED: tuple[dict[str, object], ...] = (
    {"messages": [{"role": "user", "content": "How is the weather in Rome?"}], "tools": [{}]},
    {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 2000},
    {"messages": [{"role": "user", "content": "hi"}], "response_format": {"type": "json_object"}},
)


def _routes() -> list[Route]:
    return [parse_route(one) for one in _WRITTEN]


if __name__ == "__main__":
    main()
