"""A use of a model, and what the rules say of it."""

from __future__ import annotations

import datetime
from dataclasses import dataclass
from typing import Literal

from liveweights.catalog.filters import UNKNOWN
from liveweights.terms.rules import Action, Learner, Then

Source = Literal["settings", "default"]
Outcome = Literal["allow", "warn", "deny"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a model is to be used for. ``tenant`` None: nobody's in particular; ``day`` is in
    UTC."""

    action: Action
    day: datetime.date
    tenant: str | None = None
    purpose: str = UNKNOWN
    learner: Learner = "itself"


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """Somebody answers for a model being used although ``rule`` says otherwise.

    ``action`` and ``tenant`` None: any. The day ``until`` is included (UTC).
    """

    model: str
    rule: str
    who: str
    why: str
    until: datetime.date
    action: Action | None = None
    tenant: str | None = None

    def covers(self, question: Question) -> bool:
        return (
            question.day <= self.until
            and self.action in (None, question.action)
            and self.tenant in (None, question.tenant)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A rule that matches, and ``because`` of what in the model; ``notices`` are the texts that
    it asks for. ``aside``: the override that sets it aside."""

    rule: str
    source: Source
    then: Then
    reason: str
    because: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
    aside: Override | None = None

    def __str__(self) -> str:
        because = f" ({'; '.join(self.because)})" if self.because else ""
        return f"{self.reason}{because}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """``matched`` has every rule that matches, the strongest first, then those that only give
    notice, then those set aside. ``decided_by`` None: no rule had a say."""

    outcome: Outcome
    decided_by: Match | None = None
    matched: tuple[Match, ...] = ()
    notices: tuple[str, ...] = ()


ALLOWED = Decision(outcome="allow")
