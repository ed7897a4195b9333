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


def response_of(generation: str) -> str:
    """The id of the response that is this generation."""
    return f"resp_{generation.removeprefix('gen_')}"


def generation_of(answer: str) -> str:
    """The generation that an answer's id stands for: a response's, or the generation's own."""
    return f"gen_{answer.removeprefix('resp_')}" if answer.startswith("resp_") else answer
