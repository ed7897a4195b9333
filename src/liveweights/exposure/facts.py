"""What exposure is worked out from: models with whose they are, traffic, and what was learnt."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from liveweights.catalog.cards import Card
from liveweights.catalog.filters import UNKNOWN
from liveweights.terms.facts import Facts

Dimension = Literal["maker", "country", "licence", "licence_kind", "family", "upstream", "hardware"]
DIMENSIONS: tuple[Dimension, ...] = get_args(Dimension)
Key = tuple[str, str | None]
"""An alias and the base that it stood on: whose the model was. None: another server ran it."""
HERE = "this service"
"""The upstream of a model that is run here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model of the service: ``facts`` are of whose it is, back to what it was derived from.
    ``card`` None: it has none. ``upstream`` is the host that runs it, ``hardware`` what that is,
    where somebody said so. ``base`` is the registered base that the alias stands on, or stood on
    before; None: another server runs it."""

    facts: Facts
    card: Card | None = None
    upstream: str = HERE
    hardware: str = UNKNOWN
    base: str | None = None

    @property
    def alias(self) -> str:
        return self.facts.name

    @property
    def key(self) -> Key:
        return self.alias, self.base

    def values(self, dimension: Dimension) -> tuple[str, ...]:
        """What it depends on: its own value first, then those of what it was derived from."""
        if dimension == "upstream":
            return (self.upstream,)
        if dimension == "hardware":
            return (self.hardware,)
        return tuple(dict.fromkeys(getattr(one, dimension) for one in self.facts.origins))


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What was had of one alias on one ``base`` (as of ``Served``) on one day (UTC).
    ``revenue`` is in billionths of each currency, ``charged`` are the tenants that it is of;
    ``accepted`` and ``rejected`` count answers."""

    alias: str
    day: datetime.date
    answers: int
    prompt_tokens: int = 0
    output_tokens: int = 0
    revenue: Mapping[str, int] = field(default_factory=dict[str, int])
    charged: frozenset[str] = frozenset()
    accepted: int = 0
    rejected: int = 0
    base: str | None = None

    @property
    def key(self) -> Key:
        return self.alias, self.base


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """What an alias has learnt: cycles that are part of what is live, and the sum of the gains in
    held-back reward that their gates measured; all cycles that ended, and their seconds. Those of
    tenants' own branches are the model's. ``base`` is what it stands on."""

    alias: str
    promoted: int
    gain: float
    cycles: int
    seconds: float
    base: str | None = None

    @property
    def key(self) -> Key:
        return self.alias, self.base
