"""Generations and feedback as rows: one order of columns for writing and reading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg.types.json import Jsonb

from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation

GENERATION: dict[str, str] = {
    "id": "text",
    "created_at": "timestamptz",
    "alias": "text",
    "checkpoint": "text",
    "endpoint": "text",
    "prompt_ids": "int4[]",
    "output_ids": "int4[]",
    "logprobs": "float4[]",
    "raw_logprobs": "float4[]",
    "output": "text",
    "finish_reason": "text",
    "temperature": "float4",
    "top_p": "float4",
    "seed": "int8",
    "max_tokens": "int4",
    "tenant": "text",
    "user_id": "text",
    "session": "text",
    "surface": "text",
    "language": "text",
    "consent": "bool",
    "healed": "text",
    "first_token_ms": "float4",
    "total_ms": "float4",
    "metadata": "jsonb",
    "prompt": "text",
    "usage": "jsonb",
}
"""Columns of the table ``generations`` and their types."""

FEEDBACK: dict[str, str] = {
    "tenant": "text",
    "id": "text",
    "generation": "text",
    "signal": "text",
    "value": "float8",
    "text": "text",
    "received_at": "timestamptz",
}
"""Columns of the table ``feedback``, without ``seq``, which the database gives."""


def generation_row(g: Generation) -> tuple[object, ...]:
    return (
        g.id,
        g.created_at,
        g.alias,
        g.checkpoint,
        g.endpoint,
        g.prompt_ids,
        g.output_ids,
        g.logprobs,
        g.raw_logprobs,
        g.output,
        g.finish_reason,
        g.temperature,
        g.top_p,
        g.seed,
        g.max_tokens,
        g.tenant,
        g.user,
        g.session,
        g.surface,
        g.language,
        g.consent,
        g.healed,
        g.first_token_ms,
        g.total_ms,
        Jsonb(g.metadata),
        g.prompt,
        Jsonb(g.usage),
    )


def generation_from(row: Sequence[Any]) -> Generation:
    """The inverse of ``generation_row``, up to the precision of float4."""
    names = ("user" if name == "user_id" else name for name in GENERATION)
    return Generation(**dict(zip(names, row, strict=True)))


def feedback_row(f: Feedback) -> tuple[object, ...]:
    return (f.tenant, f.id, f.generation, f.signal, f.value, f.text, f.received_at)


def feedback_from(row: Sequence[Any]) -> Feedback:
    return Feedback(**dict(zip(FEEDBACK, row, strict=True)))
