"""What an API key may do, and how much."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec
from msgspec import Meta

from liveweights.meter.budgets import Budgets, check_budgets
from liveweights.meter.settings import RateLimits

Use = Literal["answers", "feedback", "insight"]
"""Asking for answers and what was stored of them; reacting to them; reading what is known of all
of a tenant's."""
USES: tuple[Use, ...] = get_args(Use)
Path = Annotated[str, Meta(pattern=r"^/[!-~]*$", max_length=256)]
ModelName = Annotated[str, Meta(pattern=r"^[^\x00]*$", min_length=1, max_length=128)]
MOST = 256
"""Models or endpoints that a key can be bound to."""


class Rights(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``uses``, ``models`` and ``endpoints`` (paths, each with all below it) bound a key where
    they are given; empty ones bind nothing. ``limits`` of None are the tenant's. ``budgets`` are
    the key's own, beside those of its tenant. ``route`` is what the key's requests ask of the model
    that answers, where they say nothing themselves.
    """

    uses: Annotated[tuple[Use, ...], Meta(max_length=len(USES))] = ()
    models: Annotated[tuple[ModelName, ...], Meta(max_length=MOST)] = ()
    endpoints: Annotated[tuple[Path, ...], Meta(max_length=MOST)] = ()
    limits: RateLimits | None = None
    budgets: Budgets = ()
    route: dict[str, Any] = msgspec.field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        check_budgets(self.budgets)

    def allow_use(self, use: Use) -> bool:
        return not self.uses or use in self.uses

    def allow_model(self, name: str) -> bool:
        return not self.models or name in self.models

    def allow_path(self, path: str) -> bool:
        """By whole segments: ``/v1/chat`` allows ``/v1/chat/completions`` and not ``/v1/chats``."""
        if not self.endpoints:
            return True
        places = (place.rstrip("/") for place in self.endpoints)
        return any(path == place or path.startswith(place + "/") for place in places)


EVERYTHING = Rights()
"""Of a key that nothing was said about."""
