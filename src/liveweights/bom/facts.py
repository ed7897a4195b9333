"""What bills of materials are made of: facts of models, windows of feedback, code and service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from liveweights.catalog.ancestry import Ancestor
from liveweights.catalog.cards import Card
from liveweights.catalog.licences import Duty, Licence


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Whose a model is, by its card.

    ``by``: its files are those of the card, or it only has the card's name. ``ancestors`` are what
    it was derived from, the nearest first. ``duties`` are all that are asked, of it and of those.
    """

    card: Card
    by: Literal["weights", "name"]
    licence: Licence | None
    duties: tuple[Duty, ...] = ()
    ancestors: tuple[Ancestor, ...] = ()

    def list_bases(self) -> list[str]:
        """What it was derived from, each with its licence."""
        return [f"{one.hub_id}, licence {one.licence or 'unknown'}" for one in self.ancestors]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """What one cycle read: answers that it trained on and was judged by, reactions to either, and
    the root over them in hex. ``signals`` counts the reactions that it trained on by kind."""

    cycle: int
    alias: str
    began: datetime
    ended: datetime | None
    trained: int
    held_back: int
    reactions: int
    root: str
    signals: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One measured value; ``where`` says on what, ``low`` and ``high`` are the ends of its
    interval."""

    name: str
    value: float
    where: str
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A checkpoint. ``files`` are SHA-256 by file name; ``card`` is what was noted when it was
    made. ``window`` and what follows it are of the cycle that made it."""

    id: str
    kind: str
    created_at: datetime
    base: str | None
    parent: str | None
    files: Mapping[str, str]
    card: Mapping[str, Any]
    origin: Origin | None = None
    window: Window | None = None
    outcome: str | None = None
    verdict: str | None = None
    reasons: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()

    @property
    def name(self) -> str:
        return self.id.partition("@")[0]

    @property
    def version(self) -> str:
        return self.id.rpartition("@")[2]

    @property
    def parents(self) -> tuple[str, ...]:
        """What it goes on from; of a merge all parts, in order of their ids."""
        parts = self.card.get("merged_of") or {}
        return tuple(sorted({*parts, *([self.parent] if self.parent else [])}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A public name, and the ids of what answers under it. A tenant's branch is of a ``model``,
    as which it answers; of any other that is its name."""

    name: str
    live: str
    canary: str | None = None
    share: float = 0.0
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosted:
    """A model that another server runs: its name here and there, and the server's URL."""

    alias: str
    model: str
    url: str
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An installed distribution."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    licence: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What the operator says of the service (see ``BomSettings``), and how it guards itself."""

    version: str
    author: str = ""
    application: str = ""
    hardware: str = ""
    compliance: str = ""
    security_policy: str = ""
    controls: tuple[str, ...] = ()


WHOLE, ALIAS = "service", "alias:"
"""What the service and an alias are referred to by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Everything that one bill is about. ``subject`` is a checkpoint's id, an alias or, for the
    whole service, empty. ``as_of`` is when its newest fact came about. ``models`` holds every
    checkpoint and all that it came from, by id."""

    subject: str
    as_of: datetime
    service: Service
    models: Mapping[str, Model]
    aliases: tuple[Alias, ...] = ()
    hosted: tuple[Hosted, ...] = ()
    packages: tuple[Package, ...] = ()

    @property
    def reference(self) -> str:
        """What it is about, as a ``bom-ref``."""
        if not self.subject:
            return WHOLE
        return self.subject if self.subject in self.models else f"{ALIAS}{self.subject}"

    def base(self, checkpoint: str) -> Model:
        """What a checkpoint stands on in the end: itself, where it is a base. All parts of a merge
        stand on the same one."""
        model = self.models[checkpoint]
        while model.kind != "base" and model.parents:
            model = self.models.get(model.base or "") or self.models[model.parents[0]]
        return model

    def parents(self, checkpoint: str) -> list[Model]:
        """What a checkpoint was made from, in order of their ids."""
        return [self.models[id] for id in self.models[checkpoint].parents]


def newest_of(models: Iterable[Model], default: datetime) -> datetime:
    """When the newest facts of the models came about: a checkpoint, or the end of its cycle."""
    moments: list[datetime] = []
    for model in models:
        moments.append(model.created_at)
        if model.window and model.window.ended:
            moments.append(model.window.ended)
    return max(moments, default=default)
