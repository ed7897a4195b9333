"""Generations in Postgres's binary COPY format, encoded once and then only moved.

Format: https://www.postgresql.org/docs/current/sql-copy.html, section "Binary Format"; a field is
its length in bytes (32 bits, -1 for null) and its content, all numbers big-endian.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import Any, LiteralString

import msgspec

from liveweights.record.generation import Counts, Generation, count_used
from liveweights.store.partitions import day_of

SIGNATURE = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"

COLUMNS: tuple[LiteralString, ...] = (
    *("id", "created_at", "alias", "checkpoint", "endpoint"),
    *("prompt_ids", "output_ids", "logprobs", "raw_logprobs", "output", "finish_reason"),
    *("temperature", "top_p", "seed", "max_tokens", "tenant", "user_id", "session"),
    *("surface", "language", "consent", "healed", "first_token_ms", "total_ms", "metadata"),
    *("prompt", "usage", "selection", "experts", "key", "reasoning", "shaping"),
    "day",
)
"""The columns of an encoded generation, in order."""
STORED: tuple[LiteralString, ...] = (*COLUMNS, "cost_nanos")
"""Those of the table ``generations``: what an answer costs is known when it is stored."""

_NULL = b"\xff\xff\xff\xff"
_INT4, _FLOAT4 = 23, 700  # object ids of the element types
_HEAD = struct.Struct(">h").pack(len(STORED))
_LENGTH = struct.Struct(">i").pack
_TIME = struct.Struct(">iq").pack
_SAMPLING = struct.Struct(">ifif").pack
_LIMIT = struct.Struct(">ii").pack
_CONSENT = struct.Struct(">i?").pack
_REAL = struct.Struct(">if").pack
_DAY = struct.Struct(">ii").pack
_EMPTY = struct.Struct(">iiii").pack
_ARRAY = struct.Struct(">iiiiii").pack
_CELL = array("i", b"\0\0\0\x04" + bytes(4))  # the length of an element, and its place
_EMPTY_JSON = b"\0\0\0\x03\x01{}"
_WORD = 64  # characters of a text that is likely to come again
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_DAY = date(2000, 1, 1)
_MICROSECOND = timedelta(microseconds=1)
_BUCKET = 300_000_000  # microseconds
_COUNTED = ("id", "alias", "checkpoint", "output", "finish_reason", "tenant", "surface", "key")

Group = tuple[int, str, str, str, str]
"""What is counted together: 5-minute bucket since 2000, alias, checkpoint, tenant, surface."""


class Outcome(IntEnum):
    """What became of a generation, as the rollups count it."""

    ANSWERED = 0
    SILENT = 1
    CANCELLED = 2
    FAILED = 3


class Row(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A generation on its way: its tuple of ``STORED`` up to the cost, the partition that it
    belongs to, what it adds to the rollups of its group, what it is charged by, and the user who
    was named. ``created`` is in microseconds since 2000. No field is left to the garbage
    collector."""

    id: str
    day: date
    data: bytes
    group: Group
    outcome: Outcome
    counts: Counts
    created: int
    key: str
    withheld: bool
    first_token_ms: float
    total_ms: float
    user: str | None


def encode(g: Generation) -> Row:
    """Raises ValueError or TypeError for what is not of its type."""
    day = day_of(g.id)
    created = (g.created_at - _EPOCH) // _MICROSECOND
    counts = count_used(g.usage, len(g.prompt_ids), len(g.output_ids))
    try:
        data = b"".join((
            _HEAD,
            _text(g.id),
            _TIME(8, created),
            _word(g.alias),
            _word(g.checkpoint),
            _word(g.endpoint),
            _array(g.prompt_ids, _INT4),
            _array(g.output_ids, _INT4),
            _array(g.logprobs, _FLOAT4),
            _array(g.raw_logprobs, _FLOAT4),
            _text(g.output),
            _word(g.finish_reason),
            _SAMPLING(4, g.temperature, 4, g.top_p),
            _NULL if g.seed is None else _TIME(8, g.seed),
            _LIMIT(4, g.max_tokens),
            _word(g.tenant),
            _text(g.user),
            _text(g.session),
            _word(g.surface),
            _word(g.language),
            _CONSENT(1, g.consent),
            _word(g.healed),
            _SAMPLING(4, g.first_token_ms, 4, g.total_ms),
            _json(g.metadata),
            _text(g.prompt),
            _json(g.usage),
            _NULL if g.selection is None else _REAL(4, g.selection),
            _NULL if g.experts is None else _field(g.experts),
            _word(g.key),
            _text(g.reasoning),
            _json(g.shaping),
            _DAY(4, (day - _EPOCH_DAY).days),
        ))  # fmt: skip
    except (struct.error, OverflowError, AttributeError) as error:
        raise ValueError(f"generation {g.id} cannot be encoded: {error}") from error
    return Row(
        g.id,
        day,
        data,
        _group(created // _BUCKET, g.alias, g.checkpoint, g.tenant, g.surface),
        _outcome(g.output, g.finish_reason),
        counts,
        created,
        g.key,
        g.withheld,
        g.first_token_ms,
        g.total_ms,
        g.user,
    )


def decode(data: bytes) -> Row:
    """The row that was encoded as ``data``."""
    fields = read_fields(data)
    text = {name: fields[name].decode() for name in _COUNTED}
    user = fields.get("user_id")
    numbers = {name: _cardinality(fields[name]) for name in ("prompt_ids", "output_ids")}
    usage = msgspec.json.decode(fields["usage"][1:], type=dict[str, Any])
    (created,) = struct.unpack(">q", fields["created_at"])
    (first_token_ms,) = struct.unpack(">f", fields["first_token_ms"])
    (total_ms,) = struct.unpack(">f", fields["total_ms"])
    return Row(
        text["id"],
        day_of(text["id"]),
        data,
        _group(
            created // _BUCKET,
            text["alias"],
            text["checkpoint"],
            text["tenant"],
            text["surface"],
        ),
        _outcome(text["output"], text["finish_reason"]),
        count_used(usage, numbers["prompt_ids"], numbers["output_ids"]),
        created,
        text["key"],
        "selection" in fields and not text["output"],
        first_token_ms,
        total_ms,
        None if user is None else user.decode(),
    )


def complete(rows: Iterable[Row], costs: Iterable[int]) -> bytes:
    """What COPY is given for ``rows`` that cost so many nanos each."""
    parts = [SIGNATURE]
    for row, cost in zip(rows, costs, strict=True):
        parts += (row.data, _TIME(8, cost))
    parts.append(TRAILER)
    return b"".join(parts)


def read_fields(data: bytes) -> dict[str, bytes]:
    """The content of each of ``COLUMNS`` that is not null."""
    fields: dict[str, bytes] = {}
    place = len(_HEAD)
    for name in COLUMNS:
        size = _int(data, place)
        place += 4
        if size >= 0:
            fields[name] = data[place : place + size]
            place += size
    return fields


def owner_of(row: Row) -> tuple[str, str] | None:
    """Tenant and user of an encoded generation; None where no user was named."""
    tenant = row.group[3]
    return None if row.user is None else (tenant, row.user)


def created_at(row: Row) -> datetime:
    return _EPOCH + row.created * _MICROSECOND


def bucket_start(group: Group) -> datetime:
    return _EPOCH + group[0] * _BUCKET * _MICROSECOND


@lru_cache(maxsize=4096)
def _group(bucket: int, alias: str, checkpoint: str, tenant: str, surface: str) -> Group:
    """One object for all rows of a group."""
    return bucket, alias, checkpoint, tenant, surface


def _outcome(output: str, reason: str) -> Outcome:
    if reason == "cancelled":
        return Outcome.CANCELLED
    if reason == "error":
        return Outcome.FAILED
    return Outcome.ANSWERED if output else Outcome.SILENT


def _field(content: bytes) -> bytes:
    return _LENGTH(len(content)) + content


def _text(text: str | None) -> bytes:
    return _NULL if text is None else _field(text.encode())


def _word(text: str) -> bytes:
    return _known(text) if len(text) <= _WORD else _text(text)


@lru_cache(maxsize=4096)
def _known(text: str) -> bytes:
    return _field(text.encode())


def _json(value: Mapping[str, object]) -> bytes:
    return _field(b"\x01" + msgspec.json.encode(value)) if value else _EMPTY_JSON


def _array(values: Sequence[float], element: int) -> bytes:
    if not values:
        return _EMPTY(12, 0, 0, element)
    size = len(values)
    cells = _CELL * size
    # 32-bit words, whose bytes are in order already.
    cells[1::2] = array("i", _packer(size, element)(*values))
    return _ARRAY(20 + 8 * size, 1, 0, element, size, 1) + cells.tobytes()


@lru_cache(maxsize=4096)
def _packer(size: int, element: int) -> Callable[..., bytes]:
    return struct.Struct(f">{size}{'f' if element == _FLOAT4 else 'i'}").pack


def _cardinality(array: bytes) -> int:
    return _int(array, 12) if _int(array, 0) else 0


def _int(data: bytes, place: int) -> int:
    return struct.unpack_from(">i", data, place)[0]
