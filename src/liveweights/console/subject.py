"""What the console is about, and what one page is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from liveweights.console.sources import Sources
from liveweights.cycle.settings import WorkerSettings
from liveweights.http.errors import ApiError
from liveweights.learn.rewards import RewardMap
from liveweights.meter.levies import BillingSettings
from liveweights.serve.api.objects import Model

Known: TypeAlias = Callable[[str | None], Sequence[Model]]
"""What is known of the models, to a tenant with its prices."""


def know_nothing(tenant: str | None) -> Sequence[Model]:
    """Of no model."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The models of a service: ``workers`` has what the cycles of local ones go by, by their public
    names; and the names of ``hosted`` ones. ``home`` is where running steps say how far they
    are. ``known`` says what is known of them. ``billing`` is what invoices are made by,
    ``databases`` the folder of those for agents, ``sources`` what pages read beside the
    database."""

    workers: Mapping[str, WorkerSettings]
    hosted: Sequence[str] = ()
    home: Path
    billing: BillingSettings
    databases: Path
    sources: Sources
    known: Known = know_nothing

    @property
    def names(self) -> list[str]:
        """Public names, those of local models first."""
        return [*self.workers, *self.hosted]

    @property
    def rewards(self) -> dict[str, RewardMap]:
        """What reactions are worth, by the names of local models."""
        return {name: worker.rewards for name, worker in self.workers.items()}

    def list_names(self, tenant: str | None) -> list[str]:
        """The public names that users of a tenant are told; None: all."""
        if tenant is None:
            return self.names
        told = {model.id for model in self.known(tenant)}
        return [name for name in self.names if name in told]

    def find(self, asked: str | None, tenant: str | None = None) -> str:
        """The model that is meant: the first that a tenant is told of (of all where it is told of
        none), unless another is asked for. Raises ApiError 404."""
        name = next(iter(self.list_names(tenant) or self.names), "") if asked is None else asked
        if name not in self.names:
            raise ApiError(404, f"No model is called {name[:128]!r}.", code="not_found")
        return name


@dataclass(frozen=True, slots=True)
class Asked:
    """A model, for a page about one thing its ``id``, and what else the address says. ``keyed``:
    the API asks for keys now. ``tenant``: whose answers are shown only; None: everybody's."""

    model: str
    id: str
    query: Mapping[str, str]
    keyed: bool
    tenant: str | None = None

    def get(self, name: str) -> str | None:
        """A parameter of the address, None where it is not there."""
        return self.query.get(name)


def missing(what: str) -> ApiError:
    """404, where there is no such thing."""
    return ApiError(404, what, code="not_found")
