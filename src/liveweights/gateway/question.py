"""What a passing request asks for, as far as the record needs it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from liveweights.record.generation import Surface

RECORDED: dict[str, Surface] = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "completion",
}
"""The paths whose answers are recorded, and as what."""


class _Asked(msgspec.Struct, omit_defaults=True):
    """What was put to the model; ``prompt_json`` of the record is made of these."""

    prompt: Raw | UnsetType = UNSET
    suffix: Raw | UnsetType = UNSET
    messages: Raw | UnsetType = UNSET
    instructions: Raw | UnsetType = UNSET
    input: Raw | UnsetType = UNSET
    tools: Raw | UnsetType = UNSET


class Question(_Asked, kw_only=True):
    """A request body. Unknown parameters are the upstream's business."""

    model: str
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    max_output_tokens: int | None = None
    user: str | None = None
    metadata: dict[str, Any] | None = None

    @property
    def limit(self) -> int:
        """Most tokens of the answer, 0 where none was given."""
        return self.max_completion_tokens or self.max_tokens or self.max_output_tokens or 0

    @property
    def said(self) -> dict[str, str]:
        """Metadata, without what is not text."""
        return {k: v for k, v in (self.metadata or {}).items() if isinstance(v, str)}

    def prompt_json(self) -> str:
        """What was asked, as one JSON object with the request's own words."""
        asked = {name: getattr(self, name) for name in _Asked.__struct_fields__}
        given = {name: value for name, value in asked.items() if value is not UNSET}
        return msgspec.json.encode(given).decode("utf-8", "replace")

    def prompt_ids(self) -> list[int]:
        """The prompt's token ids where it was sent as such, else none."""
        if isinstance(self.prompt, UnsetType) or not bytes(self.prompt).lstrip().startswith(b"["):
            return []
        try:
            return msgspec.json.decode(self.prompt, type=list[int])
        except msgspec.ValidationError:
            return []


def read_question(body: bytes) -> Question | None:
    """None for what no server will answer, or not in a way that is understood here."""
    try:
        return msgspec.json.decode(body, type=Question)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
