"""Which of several models answers a request: those that fit, the first choice first."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType

from liveweights.terms.book import Book
from liveweights.terms.criteria import Candidate, Criterion, make_criterion, members
from liveweights.terms.decision import Match, Override, Question
from liveweights.terms.defaults import DEFAULTS
from liveweights.terms.needs import NOTHING, Ability, Needs
from liveweights.terms.route import ANY, Route
from liveweights.terms.rules import Rule

AUTO = "auto"
"""The model that stands for the cheapest that fits."""
KEPT = 2_000
"""Routes that are kept, and orders; when there are more, all are worked out anew."""
LONGEST = 50
"""Names of countries, makers, kinds and models in a route that is kept, of 20 characters each."""
SHOWN = 20
"""Names of models in a message."""
NONE: Mapping[str, Match] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Removal:
    """A rule of the route, or of the terms, and why it removed the model."""

    model: str
    rule: str
    reason: str


class NoSuchModel(LookupError):
    """There is no model of that name; the message names those that are near."""


class NoModelFits(LookupError):
    """Every model that was asked for is removed: by which rules, each."""

    def __init__(self, removed: tuple[Removal, ...]) -> None:
        by_rule: dict[str, list[Removal]] = {}
        for one in removed:
            by_rule.setdefault(one.rule, []).append(one)
        told = "; ".join(f"{rule} removed {_models(them)}" for rule, them in by_rule.items())
        super().__init__(f"no model fits: {told or 'the service has none'}")
        self.removed = removed


@dataclass(slots=True)
class Sieve:
    """Bit n of ``fits``: the nth model of the roster fits the criterion."""

    by: Criterion
    fits: int


class Roster:
    """The models of a service, in the order in which ``auto`` takes them: the cheapest first, those
    of an unknown price last; of one price by name. It does not change: make another.

    ``closed`` are models that were not loaded, by the rule that denied it: they answer nothing.
    Sets of models are integers, a bit for each model.
    """

    def __init__(
        self,
        candidates: Iterable[Candidate],
        rules: Sequence[Rule] = (),
        *,
        overrides: Iterable[Override] = (),
        defaults: Sequence[Rule] = DEFAULTS,
        closed: Mapping[str, Match] = NONE,
    ) -> None:
        self._candidates = sorted(candidates, key=_by_price)
        self._numbers = {one.name: number for number, one in enumerate(self._candidates)}
        facts = [one.facts for one in self._candidates]
        self.book = Book(facts, rules, overrides=overrides, defaults=defaults)
        """What the terms say of each model."""
        self._names = [(1 << number, name) for name, number in self._numbers.items()]
        self._bits = [(1 << number, one) for number, one in enumerate(self._candidates)]
        self._closed = closed
        self._open = sum(bit for bit, name in self._names if name not in closed)
        self._listed = [n for n, one in enumerate(self._candidates) if one.visible]
        self._visible = sum(1 << number for number in self._listed)
        self._sizes, self._smaller = _by_context(self._bits)
        self._criteria: dict[tuple[str, object], Sieve] = {}
        self._routes: dict[Route, tuple[Sieve, ...]] = {}
        self._abilities: dict[frozenset[Ability], tuple[Sieve, ...]] = {}
        self._orders: dict[int, tuple[str, ...]] = {}

    def __contains__(self, model: str) -> bool:
        return model in self._numbers

    def choose(
        self, model: str, question: Question, route: Route = ANY, needs: Needs = NOTHING
    ) -> tuple[str, ...]:
        """The models that may answer, the first choice first. ``question`` is about routing.

        For the name of a model, it and its fallbacks, whatever the request ``needs``; for ``auto``
        the cheapest that is visible and fits, then the route's fallbacks, else all others that are
        and do. Raises NoSuchModel, NoModelFits.
        """
        if model != AUTO:
            needs = NOTHING
        fits = self._open & ~self.book.denied(question) & ~self._too_small(needs.context)
        for sieve in self._of(route):
            fits &= sieve.fits
        for sieve in self._able(needs.abilities):
            fits &= sieve.fits
        if model == AUTO:
            asked = self._listed
            found = self._in_order(fits & self._visible)
            if route.fallback is not None:
                others = self._fitting(self._named(route.fallback, "route.fallback names"), fits)
                found = tuple(dict.fromkeys((*found[:1], *others)))
        else:
            asked = self._asked(model, route)
            found = self._fitting(asked, fits)
        if not found:
            raise NoModelFits(tuple(self._removals(asked, question, route, needs)))
        return found

    def removals(self, question: Question, route: Route = ANY) -> tuple[Removal, ...]:
        """Every rule that removes a model, of all models."""
        return tuple(self._removals(range(len(self._candidates)), question, route, NOTHING))

    def _removals(
        self, numbers: Iterable[int], question: Question, route: Route, needs: Needs
    ) -> Iterator[Removal]:
        sieves = (*self._of(route), *self._able(needs.abilities))
        too_small = self._too_small(needs.context)
        for number in numbers:
            one = self._candidates[number]
            if (match := self._closed.get(one.name)) is not None:
                yield Removal(one.name, f"terms.{match.rule}", f"not loaded: {match}")
            by = self.book.decide(one.name, question)
            if by.outcome == "deny" and by.decided_by is not None:
                yield Removal(one.name, f"terms.{by.decided_by.rule}", str(by.decided_by))
            for sieve in sieves:
                if not sieve.fits >> number & 1:
                    yield Removal(one.name, sieve.by.rule, sieve.by.why(one))
            if too_small >> number & 1:
                why = f"its context is {one.facts.context:,} tokens of about {needs.context:,}"
                yield Removal(one.name, "needs.context", why)

    def _asked(self, model: str, route: Route) -> list[int]:
        first = self._number(model, "there is no model")
        if route.fallback is None:
            others = self._named(self._candidates[first].fallback, f"the fallback of {model} names")
        else:
            others = self._named(route.fallback, "route.fallback names")
        return list(dict.fromkeys([first, *others]))

    def _named(self, names: Iterable[str], what: str) -> list[int]:
        return [self._number(name, what) for name in names]

    def _fitting(self, numbers: Iterable[int], fits: int) -> tuple[str, ...]:
        return tuple(self._candidates[number].name for number in numbers if fits >> number & 1)

    def _in_order(self, fits: int) -> tuple[str, ...]:
        found = self._orders.get(fits)
        if found is None:
            if len(self._orders) >= KEPT:
                self._orders.clear()
            found = self._orders[fits] = tuple([name for bit, name in self._names if fits & bit])
        return found

    def _number(self, name: str, what: str) -> int:
        number = self._numbers.get(name)
        if number is None:
            near = get_close_matches(name, self._numbers, 3) or sorted(self._numbers)[:SHOWN]
            raise NoSuchModel(f"{what} {name!r}; there are {', '.join(near)}")
        return number

    def _of(self, route: Route) -> tuple[Sieve, ...]:
        found = self._routes.get(route)
        if found is None:
            asked = tuple(members(route))
            if not _is_short(route):
                return tuple(self._make(rule, value) for rule, value in asked)
            if len(self._routes) >= KEPT:
                self._routes.clear()
                self._criteria.clear()
            found = self._routes[route] = tuple(self._sieve(*one) for one in asked)
        return found

    def _able(self, abilities: frozenset[Ability]) -> tuple[Sieve, ...]:
        found = self._abilities.get(abilities)
        if found is None:
            named = sorted(f"needs.{one}" for one in abilities)
            found = self._abilities[abilities] = tuple(self._sieve(rule, True) for rule in named)
        return found

    def _too_small(self, context: int) -> int:
        """The models that are known to have less context."""
        return self._smaller[bisect_left(self._sizes, context)]

    def _sieve(self, rule: str, value: object) -> Sieve:
        found = self._criteria.get((rule, value))
        if found is None:
            found = self._criteria[rule, value] = self._make(rule, value)
        return found

    def _make(self, rule: str, value: object) -> Sieve:
        criterion = make_criterion(rule, value)
        return Sieve(criterion, self._where(criterion.fits))

    def _where(self, fits: Callable[[Candidate], bool]) -> int:
        found = 0
        for bit, one in self._bits:
            if fits(one):
                found |= bit
        return found


def _is_short(route: Route) -> bool:
    """Whether it is worth being kept: what people write, not what programs make of long lists."""
    of = (route.allow, route.deny)
    listed = [one.countries + one.makers + one.licence_kinds for one in of]
    texts = [*listed[0], *listed[1], *(route.fallback or ())]
    return len(texts) <= LONGEST and sum(map(len, texts)) <= LONGEST * 20


def _by_context(models: Iterable[tuple[int, Candidate]]) -> tuple[list[int], list[int]]:
    """The contexts that are known, in order, and before each the models that have less; after all
    of them, all those models."""
    known = sorted((one.facts.context, bit) for bit, one in models if one.facts.context is not None)
    smaller = [0]
    for _, bit in known:
        smaller.append(smaller[-1] | bit)
    return [context for context, _ in known], smaller


def _by_price(one: Candidate) -> tuple[bool, float, str]:
    return one.price is None, one.price or 0.0, one.name


def _models(removed: Sequence[Removal]) -> str:
    told = [f"{one.model} ({one.reason})" for one in removed[:SHOWN]]
    more = len(removed) - SHOWN
    return ", ".join(told) + (f" and {more} more" if more > 0 else "")
