"""Models that could answer, and what a route asks of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, get_args

from liveweights.terms.facts import Facts, Origin
from liveweights.terms.needs import Ability, lacks
from liveweights.terms.route import ANYBODY, MaxPrice, Route

INPUT_SHARE = 0.75
"""Of a request's tokens, where prices are compared: three of prompt for one of answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model that could answer.

    ``input`` and ``output`` are US dollars for a million tokens; None: not known. ``local``: its
    prompts stay on this machine. ``learns``: from its users. ``scores`` are by suite, in [0, 1], of
    one harness for all models. ``fallback`` are the models that answer in its place. One that is
    not ``visible`` is only for those who name it. ``can`` is what it is known to be able to, or not
    to be.
    """

    facts: Facts
    input: float | None = None
    output: float | None = None
    local: bool = False
    learns: bool = False
    scores: Mapping[str, float] = field(default_factory=dict[str, float])
    fallback: tuple[str, ...] = ()
    visible: bool = True
    can: Mapping[Ability, bool] = field(default_factory=dict[Ability, bool])

    @property
    def name(self) -> str:
        return self.facts.name

    @property
    def price(self) -> float | None:
        """Of a million tokens, three of prompt for one of answer."""
        if self.input is None or self.output is None:
            return None
        return INPUT_SHARE * self.input + (1 - INPUT_SHARE) * self.output


@dataclass(frozen=True, slots=True)
class Criterion:
    """One member of a route, ``rule``. ``why`` says why a model that does not fit does not."""

    rule: str
    fits: Callable[[Candidate], bool]
    why: Callable[[Candidate], str]


def make_criterion(rule: str, value: Any) -> Criterion:
    """Of a member of a route, as ``members`` names it, or of ``needs.`` and an ability."""
    return Criterion(rule, *_TESTS[rule](value))


Test = tuple[Callable[[Candidate], bool], Callable[[Candidate], str]]
"""Whether a model fits, and what is said of one that does not."""


def members(route: Route) -> Iterator[tuple[str, Any]]:
    """What the route asks for: each member by its name, with its value."""
    for name, origins in (("route.allow", route.allow), ("route.deny", route.deny)):
        if origins == ANYBODY:
            continue
        for member in ("countries", "makers", "licence_kinds"):
            if values := getattr(origins, member):
                yield f"{name}.{member}", values
    if route.max_price is not None:
        yield "route.max_price", route.max_price
    if route.min_context is not None:
        yield "route.min_context", route.min_context
    if route.local_only:
        yield "route.local_only", True
    if route.learnable:
        yield "route.learnable", True
    if route.suite is not None:
        yield "route.min_score", (route.suite, route.min_score)


def _origins(member: str, of: str, allow: bool) -> Callable[[tuple[str, ...]], Test]:
    """``member`` of an Origin is, or is not, in a list."""

    def make(values: tuple[str, ...]) -> Test:
        listed = {value.casefold() for value in values}

        def wrong(one: Candidate) -> Iterator[Origin]:
            for origin in one.facts.origins:
                if (getattr(origin, member).casefold() in listed) != allow:
                    yield origin

        def why(one: Candidate) -> str:
            origin = next(wrong(one))
            if origin is one.facts.origins[0]:
                return f"its {of} is {getattr(origin, member)}"
            return (
                f"the {of} of {origin.name}, which it was made from, is {getattr(origin, member)}"
            )

        return lambda one: not any(True for _ in wrong(one)), why

    return make


def _max_price(most: float | MaxPrice) -> Test:
    limits = most if isinstance(most, MaxPrice) else MaxPrice(input=most, output=most)

    def wrong(one: Candidate) -> Iterator[str]:
        for what, price, limit in (
            ("prompts", one.input, limits.input),
            ("answers", one.output, limits.output),
        ):
            if limit is not None and price is None:
                yield f"its price of {what} is not known"
            elif limit is not None and price is not None and price > limit:
                yield f"a million tokens of {what} cost {price:g} USD"

    return lambda one: next(wrong(one), None) is None, lambda one: next(wrong(one))


def _min_context(least: int) -> Test:
    def why(one: Candidate) -> str:
        context = one.facts.context
        return "its context is " + ("not known" if context is None else f"{context:,} tokens")

    return lambda one: (one.facts.context or 0) >= least, why


def _min_score(wanted: tuple[str, float]) -> Test:
    suite, least = wanted

    def why(one: Candidate) -> str:
        score = one.scores.get(suite)
        return (
            f"it has no score on {suite}" if score is None else f"its score on {suite} is {score:g}"
        )

    return lambda one: one.scores.get(suite, -1.0) >= least, why


def _ability(_: bool, ability: Ability) -> Test:
    return (
        lambda one: lacks(one.can, ability) is None,
        lambda one: lacks(one.can, ability) or "",
    )


def _is(member: str, otherwise: str) -> Callable[[bool], Test]:
    return lambda _: (lambda one: getattr(one, member), lambda _: otherwise)


_TESTS: dict[str, Callable[[Any], Test]] = {
    "route.allow.countries": _origins("country", "country", True),
    "route.allow.makers": _origins("maker", "maker", True),
    "route.allow.licence_kinds": _origins("licence_kind", "licence kind", True),
    "route.deny.countries": _origins("country", "country", False),
    "route.deny.makers": _origins("maker", "maker", False),
    "route.deny.licence_kinds": _origins("licence_kind", "licence kind", False),
    "route.max_price": _max_price,
    "route.min_context": _min_context,
    "route.local_only": _is("local", "what it is asked leaves this machine"),
    "route.learnable": _is("learns", "it does not learn from its users"),
    "route.min_score": _min_score,
    **{f"needs.{one}": partial(_ability, ability=one) for one in get_args(Ability)},
}
"""By the member of a route, and by what a request needs: a test of its value."""
