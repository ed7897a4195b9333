"""May this model be used so? Every rule that matches, and which of them decides.

Of the rules that match, the first of these decides:

1. a rule of the operator's that denies,
2. a rule of the operator's that allows,
3. a default rule that denies,
4. any rule that warns.

Where none does, it is allowed. Of two rules of one rank the one that comes first decides. A rule
that an override sets aside is told of, and decides nothing; so an override lifts one rule, for one
model, and no other. Notices are collected beside that, and are owed whatever is decided.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from liveweights.terms.decision import ALLOWED, Decision, Match, Override, Question, Source
from liveweights.terms.defaults import DEFAULTS
from liveweights.terms.facts import Facts, Origin
from liveweights.terms.rules import Conditions, Rule, Then

RANKS: tuple[tuple[Source, Then], ...] = (
    ("settings", "deny"),
    ("settings", "allow"),
    ("default", "deny"),
    ("settings", "warn"),
    ("default", "warn"),
)
"""Rules that decide, the strongest first."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A rule that may match a model: what can be known of that before anything is asked.

    ``match`` is by all origins that ``on`` describes; ``exempt`` by those that ``unless`` cannot
    exempt: it counts where what ``unless`` asks beyond the model holds. None: none is left then.
    """

    rule: Rule
    rank: int
    match: Match
    exempt: Match | None

    def find(self, question: Question) -> Match | None:
        if not in_force(self.rule, question):
            return None
        return self.exempt if exempts(self.rule, question) else self.match


def in_force(rule: Rule, question: Question) -> bool:
    """Whether it is for that action and day, and what ``on`` asks beyond the model holds."""
    return (
        question.action in rule.when
        and (rule.since is None or rule.since <= question.day)
        and (rule.until is None or question.day <= rule.until)
        and _holds(rule.on, question)
    )


def exempts(rule: Rule, question: Question) -> bool:
    """Whether what ``unless`` asks beyond the model holds."""
    return bool(rule.unless) and _holds(rule.unless, question)


def evaluate(
    rules: Sequence[Rule],
    facts: Facts,
    question: Question,
    *,
    overrides: Iterable[Override] = (),
    defaults: Sequence[Rule] = DEFAULTS,
) -> Decision:
    """What all rules together say. ``rules`` are the operator's; names are unique among all."""
    own = [one for one in overrides if one.model == facts.name]
    return judge(prepare(rules, facts, defaults), question, own)


def prepare(
    rules: Sequence[Rule], facts: Facts, defaults: Sequence[Rule] = DEFAULTS
) -> tuple[Prepared, ...]:
    """The rules that may match the model, the strongest first."""
    own = (_prepare(rule, "settings", facts) for rule in rules)
    ours = (_prepare(rule, "default", facts) for rule in defaults)
    found = [one for one in (*own, *ours) if one is not None]
    return tuple(sorted(found, key=lambda one: one.rank))


def judge(
    prepared: Iterable[Prepared], question: Question, overrides: Sequence[Override] = ()
) -> Decision:
    """``overrides`` are those of the model."""
    matched = [found for one in prepared if (found := one.find(question)) is not None]
    if not matched:
        return ALLOWED
    if overrides:
        matched = [_set_aside(one, question, overrides) for one in matched]
    standing = [one for one in matched if one.aside is None]
    by = next((one for one in standing if one.then != "notice"), None)
    return Decision(
        outcome="allow" if by is None or by.then == "notice" else by.then,
        decided_by=by,
        matched=(*standing, *(one for one in matched if one.aside is not None)),
        notices=tuple(dict.fromkeys(text for one in standing for text in one.notices)),
    )


def _set_aside(match: Match, question: Question, overrides: Sequence[Override]) -> Match:
    for override in overrides:
        if override.rule == match.rule and override.covers(question):
            return replace(match, aside=override)
    return match


def _prepare(rule: Rule, source: Source, facts: Facts) -> Prepared | None:
    described = [one for one in facts.origins if _describes(rule.on, facts, one)]
    excepted = [one for one in described if rule.unless and _describes(rule.unless, facts, one)]
    left = [one for one in described if one not in excepted]
    # Where `unless` is about the model alone, it holds whatever is asked.
    match = _match(rule, source, facts, described if _asks(rule.unless) else left)
    if match is None:
        return None
    kind = (source, rule.then)
    rank = RANKS.index(kind) if kind in RANKS else len(RANKS)
    return Prepared(rule, rank, match, _match(rule, source, facts, left))


def _match(rule: Rule, source: Source, facts: Facts, origins: Sequence[Origin]) -> Match | None:
    """By those of a model's origins that it matches."""
    if not origins:
        return None
    because = [text for one in origins for text in _because(rule.on, facts, one)]
    notices = [text for one in origins for text in _duties(rule.on, one)] or [rule.reason]
    return Match(
        rule=rule.name,
        source=source,
        then=rule.then,
        reason=rule.reason,
        because=tuple(dict.fromkeys(because)),
        notices=tuple(dict.fromkeys(notices)) if rule.then == "notice" else (),
    )


def _describes(conditions: Conditions, facts: Facts, origin: Origin) -> bool:
    """Whether what is asked of a model holds of this one."""
    return (
        _has(conditions.model, facts.name, origin.name)
        and _has(conditions.licence, origin.licence)
        and _has(conditions.licence_kind, origin.licence_kind)
        and _has(conditions.country, origin.country)
        and _has(conditions.maker, origin.maker)
        and (not conditions.duty or any(d.kind in conditions.duty for d in origin.duties))
    )


def _has(wanted: Sequence[str], *values: str) -> bool:
    if not wanted:
        return True
    folded = {one.casefold() for one in wanted}
    return any(value.casefold() in folded for value in values)


def _asks(conditions: Conditions) -> bool:
    """Whether it asks for anything that is not about the model."""
    return bool(conditions.tenant or conditions.purpose or conditions.learner)


def _holds(conditions: Conditions, question: Question) -> bool:
    """Whether what is asked beyond the model holds."""
    return (
        (not conditions.tenant or question.tenant in conditions.tenant)
        and (not conditions.purpose or question.purpose in conditions.purpose)
        and (not conditions.learner or question.learner in conditions.learner)
    )


def _because(conditions: Conditions, facts: Facts, origin: Origin) -> Iterator[str]:
    of = "" if origin is facts.origins[0] else f" of {origin.name}, which it was made from"
    for member, value in (
        ("model", origin.name),
        ("licence", origin.licence),
        ("licence_kind", origin.licence_kind),
        ("country", origin.country),
        ("maker", origin.maker),
    ):
        if getattr(conditions, member):
            yield f"{member.replace('_', ' ')} {value}{of}"
    if conditions.duty:
        kinds = dict.fromkeys(d.kind for d in origin.duties if d.kind in conditions.duty)
        yield f"{', '.join(kinds)} in licence {origin.licence}{of}"


def _duties(conditions: Conditions, origin: Origin) -> Iterator[str]:
    for duty in origin.duties:
        if duty.kind in conditions.duty:
            yield duty.text + (f" [{duty.threshold}]" if duty.threshold else "")
