"""All models and all rules, made ready: a decision is looked up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence, Set

from liveweights.terms.decision import Decision, Override, Question
from liveweights.terms.defaults import DEFAULTS
from liveweights.terms.evaluation import Prepared, judge, prepare
from liveweights.terms.facts import Facts
from liveweights.terms.rules import Rule

KEPT = 50_000
"""Decisions, and sets of them, that are kept; when there are more, all are made anew."""


class Book:
    """Decisions by model and question; each is made once. It does not change: where models, rules
    or overrides do, make another."""

    def __init__(
        self,
        models: Iterable[Facts],
        rules: Sequence[Rule] = (),
        *,
        overrides: Iterable[Override] = (),
        defaults: Sequence[Rule] = DEFAULTS,
    ) -> None:
        self._models: dict[str, tuple[Prepared, ...]] = {
            facts.name: prepare(rules, facts, defaults) for facts in models
        }
        self._overrides: dict[str, list[Override]] = defaultdict(list)
        for override in overrides:
            self._overrides[override.model].append(override)
        self._decisions: dict[tuple[str, Question], Decision] = {}
        self._denied: dict[Question, frozenset[str]] = {}

    @property
    def names(self) -> Set[str]:
        """Of all models."""
        return self._models.keys()

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

    def denied(self, question: Question) -> frozenset[str]:
        """The models that may not be used so."""
        names = self._denied.get(question)
        if names is None:
            if len(self._denied) >= KEPT // 100:
                self._denied.clear()
            names = frozenset(
                name for name in self._models if self.decide(name, question).outcome == "deny"
            )
            self._denied[question] = names
        return names
