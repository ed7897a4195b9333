"""What a checkpoint would have answered."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowAnswer:
    """``generation`` is the answer that the ``user`` got to the same request, made at
    ``asked_at``."""

    generation: str
    tenant: str
    user: str | None
    asked_at: datetime
    checkpoint: str
    alias: str
    created_at: datetime
    session: str | None
    output: str
    finish_reason: str
    total_ms: float
