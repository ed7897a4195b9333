"""An answer of /v1/responses that a later one can go on from, and a conversation of several."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredResponse:
    """``input`` are the items of this turn only; ``body`` is the answer as it was sent."""

    id: str
    tenant: str
    user: str | None
    previous: str | None
    created_at: datetime
    input: list[dict[str, Any]]
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conversation:
    """Its items are kept beside it."""

    id: str
    tenant: str
    created_at: datetime
    metadata: dict[str, str]
