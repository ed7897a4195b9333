"""Which models answer a request, compared with asking each model for itself."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.terms.models import COUNTRIES, DAY, KINDS, MAKERS, facts, some

from liveweights.terms import roster as module
from liveweights.terms.criteria import Candidate
from liveweights.terms.decision import Question
from liveweights.terms.facts import Facts, Origin
from liveweights.terms.needs import NOTHING, USUAL, Ability, Needs
from liveweights.terms.roster import AUTO, NoModelFits, NoSuchModel, Roster
from liveweights.terms.route import ANY, MaxPrice, Origins, Route, parse_route
from liveweights.terms.rules import Conditions, Rule

NAMES = ("a", "b", "c", "d")
orders = st.sampled_from([one for n in range(3) for one in permutations(NAMES, n)])
ABILITIES = st.sampled_from(get_args(Ability))
PRICES = st.none() | st.sampled_from([0.0, 0.5, 1.0, 2.0])
ROUTE = Question(action="route", day=DAY)
RULES = (
    Rule(name="no-fr", on=Conditions(country=("FR",)), then="deny", reason="not from there"),
    Rule(name="lab", on=Conditions(tenant=("lab",), maker=("OpenAI",)), then="deny", reason="no"),
)


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    found: list[Candidate] = []
    for name in draw(st.permutations(NAMES)):
        found.append(
            Candidate(
                facts=replace(draw(facts), name=name),
                input=draw(PRICES),
                output=draw(PRICES),
                local=draw(st.booleans()),
                learns=draw(st.booleans()),
                scores=draw(st.dictionaries(st.sampled_from(["code"]), st.floats(0, 1))),
                fallback=draw(orders),
                visible=draw(st.integers(0, 3)) > 0,
                can=draw(st.dictionaries(ABILITIES, st.booleans())),
            )
        )
    return found


origins = st.builds(
    Origins, countries=some(COUNTRIES), makers=some(MAKERS), licence_kinds=some(KINDS)
)
routes = st.builds(
    lambda score, **members: Route(**members, **score),
    score=st.just({}) | st.floats(0.1, 1).map(lambda least: {"suite": "code", "min_score": least}),
    allow=st.just(Origins()) | origins,
    deny=st.just(Origins()) | origins,
    max_price=st.none()
    | st.sampled_from([0.0, 1.0, 5.0])
    | st.builds(MaxPrice, input=PRICES, output=PRICES),
    min_context=st.none() | st.integers(1, 100_000),
    local_only=st.booleans(),
    learnable=st.booleans(),
    fallback=st.none() | orders,
)
needed = st.builds(Needs, st.frozensets(ABILITIES, max_size=2), st.integers(0, 100_000))
tenants = st.none() | st.sampled_from(["acme", "lab"])


def faults(one: Candidate, route: Route, denied: str | None, needs: Needs = NOTHING) -> set[str]:
    """The rules that a model breaks, by the words of the documentation."""
    found = {f"terms.{denied}"} if denied else set[str]()
    for member, of in (
        ("countries", "country"),
        ("makers", "maker"),
        ("licence_kinds", "licence_kind"),
    ):
        values = {getattr(origin, of) for origin in one.facts.origins}
        allowed, forbidden = getattr(route.allow, member), getattr(route.deny, member)
        if allowed and not values <= set(allowed):
            found.add(f"route.allow.{member}")
        if values & set(forbidden):
            found.add(f"route.deny.{member}")
    limit = route.max_price
    limits = (limit.input, limit.output) if isinstance(limit, MaxPrice) else (limit, limit)
    for price, most in zip((one.input, one.output), limits, strict=True):
        if most is not None and (price is None or price > most):
            found.add("route.max_price")
    if route.min_context and (one.facts.context or 0) < route.min_context:
        found.add("route.min_context")
    if route.local_only and not one.local:
        found.add("route.local_only")
    if route.learnable and not one.learns:
        found.add("route.learnable")
    for ability in needs.abilities:
        if one.can.get(ability, ability in USUAL) is False:
            found.add(f"needs.{ability}")
    if one.facts.context is not None and one.facts.context < needs.context:
        found.add("needs.context")
    if route.min_score is not None and one.scores.get("code", -1) < route.min_score:
        found.add("route.min_score")
    return found


def cost(one: Candidate) -> float:
    if one.input is None or one.output is None:
        return float("inf")
    return 0.75 * one.input + 0.25 * one.output


@settings(max_examples=200)
@given(
    models=candidates(),
    route=routes,
    tenant=tenants,
    asked=st.sampled_from([*NAMES, AUTO]),
    needs=st.just(NOTHING) | needed,
)
def test_just_those_that_fit_in_the_order_that_is_promised(
    models: list[Candidate], route: Route, tenant: str | None, asked: str, needs: Needs
) -> None:
    roster = Roster(models, RULES)
    question = replace(ROUTE, tenant=tenant)
    wrong: dict[str, set[str]] = {}
    for one in models:
        decision = roster.book.decide(one.name, question)
        denied = decision.decided_by if decision.outcome == "deny" else None
        # Who names a model has chosen, whatever the request needs.
        lacked = needs if asked == AUTO else NOTHING
        wrong[one.name] = faults(one, route, denied.rule if denied else None, lacked)
    by_price = [one.name for one in sorted(models, key=lambda one: (cost(one), one.name))]
    if asked == AUTO:
        hidden = {one.name for one in models if not one.visible}
        considered = [name for name in by_price if name not in hidden]
        order = first = [name for name in considered if not wrong[name]]
        if route.fallback is not None:
            order = [*first[:1], *(name for name in route.fallback if not wrong[name])]
    else:
        one = next(one for one in models if one.name == asked)
        considered = [asked, *(one.fallback if route.fallback is None else route.fallback)]
        order = [name for name in considered if not wrong[name]]
    for _ in range(2):  # the second time from what was kept
        if order:
            assert list(roster.choose(asked, question, route, needs)) == list(dict.fromkeys(order))
            continue
        with pytest.raises(NoModelFits) as caught:
            roster.choose(asked, question, route, needs)
        removed = caught.value.removed
        told = {name: {x.rule for x in removed if x.model == name} for name in considered}
        assert told == {name: wrong[name] for name in considered}
        assert all(told.values())
        assert all(x.reason and x.rule in str(caught.value) for x in removed)
    assert {(x.model, x.rule) for x in roster.removals(question, route)} == {
        (name, rule)
        for name, rules in wrong.items()
        for rule in rules
        if not rule.startswith("needs.")
    }


@given(models=candidates(), route=routes, added=routes)
def test_what_is_asked_beside_it_never_adds_a_model(
    models: list[Candidate], route: Route, added: Route
) -> None:
    roster = Roster(models)
    both = replace_members(route, added)
    before, after = (
        {one.model for one in roster.removals(ROUTE, asked)} for asked in (route, both)
    )
    assert before <= after


def replace_members(route: Route, added: Route) -> Route:
    """``route``, with what it does not ask for itself asked as ``added`` does."""
    members: dict[str, Any] = {}
    for name in Route.__struct_fields__:
        mine, default = getattr(route, name), getattr(ANY, name)
        members[name] = getattr(added, name) if mine == default else mine
    return Route(**members)


def candidate(name: str, **members: Any) -> Candidate:
    origin = Origin(
        name=f"org/{name}",
        country=members.pop("country", "US"),
        licence_kind="open",
        licence="MIT",
    )
    context = members.pop("context", None)
    return Candidate(facts=Facts(name=name, origins=(origin,), context=context), **members)


def roster_of(*models: Candidate) -> Roster:
    return Roster(models, RULES)


def test_if_none_fits_it_says_which_rule_removed_which_model() -> None:
    roster = roster_of(
        candidate("big", country="CN", input=1.0, output=3.0, context=1000),
        candidate("far", country="FR", input=0.1, output=0.1, context=200_000),
        candidate("dear", input=9.0, output=20.0, context=200_000),
        candidate("secret"),
    )
    route = parse_route(
        {"deny": {"countries": ["CN"]}, "max_price": {"output": 5}, "min_context": 32000}
    )
    with pytest.raises(NoModelFits) as caught:
        roster.choose(AUTO, ROUTE, route)
    assert str(caught.value) == (
        "no model fits: terms.no-fr removed far (not from there (country FR)); "
        "route.deny.countries removed big (its country is CN); "
        "route.min_context removed big (its context is 1,000 tokens), "
        "secret (its context is not known); "
        "route.max_price removed dear (a million tokens of answers cost 20 USD), "
        "secret (its price of answers is not known)"
    )


def test_routes_do_not_fill_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 3)
    roster = roster_of(candidate("near", country="US"), candidate("mad", country="CN"))
    for number in range(10):
        listed = [f"maker {number} {n}" for n in range(100)]
        large = Route(deny=Origins(makers=tuple(listed), countries=("CN",)))
        wide = Route(deny=Origins(makers=(f"{number}" * 1000 + "x",), countries=("CN",)))
        for route in (large, wide):
            assert roster.choose(AUTO, ROUTE, route) == ("near",)
            with pytest.raises(NoModelFits, match=r"deny\.countries removed mad"):
                roster.choose("mad", ROUTE, route)
        assert roster._routes == roster._criteria == {}
    for number in range(1, 10):
        roster.choose(AUTO, ROUTE, Route(deny=Origins(makers=(f"{number}",))))
        assert len(roster._routes) <= 3
        assert len(roster._criteria) <= 3


def test_what_a_request_needs_is_a_rule_by_its_name() -> None:
    roster = roster_of(
        candidate("deaf", can={"tools": False, "chat": True}, context=100_000),
        candidate("far", context=100_000),
        candidate("small", can={"tools": True}, context=2048),
        candidate("text", can={"chat": False, "tools": True}),
    )
    needs = Needs(frozenset(("chat", "tools")), 3100)
    with pytest.raises(NoModelFits) as caught:
        roster.choose(AUTO, ROUTE, needs=needs)
    assert str(caught.value) == (
        "no model fits: needs.tools removed deaf (it calls no tools), far (it is not known whether "
        "it calls tools); needs.context removed small (its context is 2,048 tokens of about 3,100);"
        " needs.chat removed text (it has no chats)"
    )
    assert roster.choose(AUTO, ROUTE, needs=Needs(frozenset(("chat",)), 3100)) == ("deaf", "far")
    assert roster.choose("deaf", ROUTE, needs=needs) == ("deaf",)


def test_a_base_is_named_where_it_is_why() -> None:
    base = Origin(name="x/base", country="CN")
    one = candidate("ours")
    tuned = replace(one, facts=replace(one.facts, origins=(*one.facts.origins, base)))
    with pytest.raises(NoModelFits, match="the country of x/base, which it was made from, is CN"):
        roster_of(tuned).choose("ours", ROUTE, Route(allow=Origins(countries=("US",))))


def test_many_models_that_do_not_fit_are_a_message_of_bounded_length() -> None:
    roster = roster_of(*(candidate(f"model-{n:03}") for n in range(60)))
    with pytest.raises(NoModelFits, match=r"model-019 .* and 40 more$") as caught:
        roster.choose(AUTO, ROUTE, Route(local_only=True))
    assert len(caught.value.removed) == 60


@pytest.mark.parametrize(
    ("model", "route", "said"),
    [
        ("bgi", ANY, "there is no model 'bgi'; there are big"),
        ("big", ANY, "the fallback of big names 'gone'; there are big, small"),
        ("small", Route(fallback=("smal",)), "route.fallback names 'smal'; there are small"),
        (AUTO, Route(fallback=("smal",)), "route.fallback names 'smal'; there are small"),
    ],
)
def test_a_model_that_there_is_not_is_refused(model: str, route: Route, said: str) -> None:
    roster = roster_of(candidate("big", fallback=("gone",)), candidate("small"))
    with pytest.raises(NoSuchModel) as caught:
        roster.choose(model, ROUTE, route)
    assert str(caught.value) == said
