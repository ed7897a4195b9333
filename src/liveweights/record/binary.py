"""Generations in Postgres's binary COPY format, encoded once and then only moved.

Format: https://www.postgresql.org/docs/current/sql-copy.html, section "Binary Format"; a field is
its length in bytes (32 bits, -1 for null) and its content, all numbers big-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import LiteralString

import msgspec
import numpy as np

from liveweights.record.generation import Generation
from liveweights.record.prices import Price, cost_nanos
from liveweights.store.partitions import day_of

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

COLUMNS: tuple[LiteralString, ...] = (
    *("id", "created_at", "alias", "checkpoint", "endpoint"),
    *("prompt_ids", "output_ids", "logprobs", "raw_logprobs", "output", "finish_reason"),
    *("temperature", "top_p", "seed", "max_tokens", "tenant", "user_id", "session"),
    *("surface", "language", "consent", "healed", "first_token_ms", "total_ms", "metadata"),
    *("prompt", "usage", "selection", "experts", "day", "cost_nanos"),
)
"""The columns of an encoded generation, in order."""

_NULL = b"\xff\xff\xff\xff"
_INT4, _FLOAT4 = 23, 700  # object ids of the element types
_HEAD = struct.Struct(">h").pack(len(COLUMNS))
_LENGTH = struct.Struct(">i").pack
_TIME = struct.Struct(">iq").pack
_SAMPLING = struct.Struct(">ifif").pack
_LIMIT = struct.Struct(">ii").pack
_CONSENT = struct.Struct(">i?").pack
_REAL = struct.Struct(">if").pack
_END = struct.Struct(">iiiq").pack
_ARRAY = struct.Struct(">iiiiii").pack
_EMPTY = struct.Struct(">iiii").pack
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(2000, 1, 1)
_MICROSECOND = timedelta(microseconds=1)


def encode_generation(g: Generation, day: date, cost_nanos: int) -> bytes:
    """One tuple of ``COLUMNS``. Raises ValueError or TypeError for what is not of its type."""
    try:
        return b"".join((
            _HEAD,
            _text(g.id),
            _TIME(8, (g.created_at - _EPOCH) // _MICROSECOND),
            _text(g.alias),
            _text(g.checkpoint),
            _text(g.endpoint),
            _array(g.prompt_ids, _INT4, ">i4"),
            _array(g.output_ids, _INT4, ">i4"),
            _array(g.logprobs, _FLOAT4, ">f4"),
            _array(g.raw_logprobs, _FLOAT4, ">f4"),
            _text(g.output),
            _text(g.finish_reason),
            _SAMPLING(4, g.temperature, 4, g.top_p),
            _NULL if g.seed is None else _TIME(8, g.seed),
            _LIMIT(4, g.max_tokens),
            _text(g.tenant),
            _text(g.user),
            _text(g.session),
            _text(g.surface),
            _text(g.language),
            _CONSENT(1, g.consent),
            _text(g.healed),
            _SAMPLING(4, g.first_token_ms, 4, g.total_ms),
            _json(g.metadata),
            _text(g.prompt),
            _json(g.usage),
            _NULL if g.selection is None else _REAL(4, g.selection),
            _NULL if g.experts is None else _field(g.experts),
            _END(4, (day - _EPOCH_DAY).days, 8, cost_nanos),
        ))  # fmt: skip
    except (struct.error, OverflowError, AttributeError) as error:
        raise ValueError(f"generation {g.id} cannot be encoded: {error}") from error


def _field(content: bytes) -> bytes:
    return _LENGTH(len(content)) + content


def _text(text: str | None) -> bytes:
    return _NULL if text is None else _field(text.encode())


def _json(value: Mapping[str, object]) -> bytes:
    return _field(b"\x01" + msgspec.json.encode(value))


def _array(values: Sequence[float], element: int, dtype: str) -> bytes:
    if not values:
        return _EMPTY(12, 0, 0, element)
    size = len(values)
    cells = np.empty((size, 2), ">i4")
    cells[:, 0] = 4
    cells[:, 1] = np.array(values, dtype).view(">i4")
    return _ARRAY(20 + 8 * size, 1, 0, element, size, 1) + cells.tobytes()


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """A generation on its way: its tuple of ``COLUMNS`` and the partition that it belongs to."""

    id: str
    day: date
    data: bytes


def encode(g: Generation, prices: Mapping[str, Price] = MappingProxyType({})) -> Row:
    """Raises ValueError or TypeError for what is not of its type."""
    prompt_tokens = g.usage.get("prompt_tokens", len(g.prompt_ids))
    output_tokens = g.usage.get("completion_tokens", len(g.output_ids))
    cost = cost_nanos(prices.get(g.alias), prompt_tokens, output_tokens)
    day = day_of(g.id)
    return Row(g.id, day, encode_generation(g, day, cost))
