"""How much of what is learnt a tenant, a key and a user may hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from liveweights.learn.guards import Weighted, cap
from liveweights.learn.settings import LearnSettings
from liveweights.learn.voters import Voter


class _Held(Weighted, Protocol):
    """A dataclass with a weight and whose it is."""

    @property
    def voter(self) -> Voter: ...


Held = TypeVar("Held", bound=_Held)


def bound(rows: Sequence[Held], settings: LearnSettings) -> list[Held]:
    """Nobody's influence is more than its share: a tenant's first, then a key's, then a user's."""
    newcomers = {row.voter.user for row in rows if not row.voter.known}

    def share(user: str) -> float:
        return settings.new_share if user in newcomers else settings.user_share

    rows = cap(rows, settings.tenant_share, lambda row: row.voter.tenant)
    rows = cap(rows, settings.key_share, lambda row: row.voter.key)
    return cap(rows, share, lambda row: row.voter.user)
