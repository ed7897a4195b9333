"""All models and all rules, made ready: a decision is looked up, or a few comparisons away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from liveweights.terms.decision import Decision, Override, Question, Source
from liveweights.terms.defaults import DEFAULTS
from liveweights.terms.evaluation import Prepared, exempts, in_force, judge, prepare
from liveweights.terms.facts import Facts
from liveweights.terms.rules import Rule

KEPT = 50_000
"""Decisions that are kept, and sets of models; when there are more, all are made anew."""


@dataclass(slots=True)
class Barrier:
    """A rule that denies or allows, and the models it is about, a bit for each: those that it
    matches, and of them those that its ``unless`` cannot exempt."""

    rule: Rule
    source: Source
    matched: int = 0
    left: int = 0


class Book:
    """Decisions by model and question; each is made once. It does not change: where models, rules
    or overrides do, make another. Sets of models are integers: bit n is the nth model.
    """

    def __init__(
        self,
        models: Iterable[Facts],
        rules: Sequence[Rule] = (),
        *,
        overrides: Iterable[Override] = (),
        defaults: Sequence[Rule] = DEFAULTS,
    ) -> None:
        self._models = {facts.name: prepare(rules, facts, defaults) for facts in models}
        numbers = {name: number for number, name in enumerate(self._models)}
        self._overrides: dict[str, list[Override]] = defaultdict(list)
        self._lifted: dict[str, list[tuple[Override, int]]] = defaultdict(list)
        for override in overrides:
            if override.model in numbers:
                self._overrides[override.model].append(override)
                self._lifted[override.rule].append((override, 1 << numbers[override.model]))
        self._barriers = _barriers(self._models.values())
        self._decisions: dict[tuple[str, Question], Decision] = {}
        self._denied: dict[Question, int] = {}

    def decide(self, model: str, question: Question) -> Decision:
        """Raises KeyError where there is no such model."""
        key = (model, question)
        decision = self._decisions.get(key)
        if decision is None:
            if len(self._decisions) >= KEPT:
                self._decisions.clear()
            decision = judge(self._models[model], question, self._overrides.get(model, ()))
            self._decisions[key] = decision
        return decision

    def denied(self, question: Question) -> int:
        """The models of which ``decide`` says that they may not be used so."""
        found = self._denied.get(question)
        if found is None:
            if len(self._denied) >= KEPT:
                self._denied.clear()
            found = self._denied[question] = self._find_denied(question)
        return found

    def _find_denied(self, question: Question) -> int:
        ours = allowed = by_default = 0
        for barrier in self._barriers:
            rule = barrier.rule
            if not in_force(rule, question):
                continue
            models = barrier.left if exempts(rule, question) else barrier.matched
            for override, bit in self._lifted.get(rule.name, ()):
                if override.covers(question):
                    models &= ~bit
            if rule.then == "allow":
                allowed |= models
            elif barrier.source == "settings":
                ours |= models
            else:
                by_default |= models
        return ours | by_default & ~allowed


def _barriers(models: Iterable[tuple[Prepared, ...]]) -> list[Barrier]:
    """Of the rules that make a model denied, or keep it from being so."""
    found: dict[str, Barrier] = {}
    for number, prepared in enumerate(models):
        for one in prepared:
            source = one.match.source
            if one.rule.then == "deny" or (one.rule.then, source) == ("allow", "settings"):
                barrier = found.setdefault(one.rule.name, Barrier(one.rule, source))
                barrier.matched |= 1 << number
                barrier.left |= (one.exempt is not None) << number
    return list(found.values())
