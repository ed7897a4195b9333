"""What a public model name points at, and one change of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

CHANNEL = "liveweights_aliases"
Change = Literal[
    "create", "canary", "step", "hold", "resume", "promote", "abort", "rollback", "switch"
]
COLUMNS = (
    "name, live, canary, canary_share, version, shadow_share, held, stepped_at, by_answer,"
    " coalesce(model, name), tenant"
)


class AliasError(ValueError):
    """The change does not fit what the alias is now; the message says why."""


class AnotherTenant(AliasError):
    """The checkpoint has learnt from a tenant's feedback alone, and the alias is not that one's."""


class UnknownAlias(LookupError):
    """There is no such alias."""


class AnotherBase(AliasError):
    """The checkpoint and the alias do not build on the same base."""


class StaleVersion(AliasError):
    """The alias was changed by somebody else since it was read."""


@dataclass(frozen=True, slots=True)
class Alias:
    """What a public name points at; ``share`` of sessions go to ``canary``.

    ``shadow`` of the requests that the live checkpoint answers are also put to the canary, whose
    answer nobody sees. A canary that is ``held`` takes no step and is not promoted by itself;
    ``stepped_at`` is when its share last changed or its hold ended. ``by_answer``: the share is of
    the answers, each drawn for itself, not of the sessions. A tenant's branch has a ``tenant``, and
    answers as ``model``, to that tenant.
    """

    name: str
    live: str
    canary: str | None
    share: float
    version: int
    shadow: float = 0.0
    held: bool = False
    stepped_at: datetime | None = None
    by_answer: bool = False
    model: str = ""
    tenant: str | None = None


def name_branch(model: str, tenant: str) -> str:
    """The alias of a tenant's own branch of a model."""
    return f"{model}:{tenant}"


@dataclass(frozen=True, slots=True)
class Release:
    """One line of an alias's history."""

    action: Change
    checkpoint: str
    previous: str | None
    reason: str
