"""What Postgres can keep: checked before a row joins a batch, so that it cannot spoil others."""

from __future__ import annotations

import math
from dataclasses import replace
from operator import attrgetter

from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation

INT4 = 2**31
INT8 = 2**63
TEXTS = (
    *("alias", "checkpoint", "endpoint", "output", "finish_reason", "tenant"),
    *("user", "session", "surface", "language", "healed", "prompt"),
)
"""The text fields of a generation that may be mended; its id may not."""

_texts = attrgetter(*TEXTS)


class InvalidRow(ValueError):
    """The row cannot be stored; the message says which field and why."""


def clean_text(text: str) -> str:
    """Replace what UTF-8 or Postgres cannot hold (lone surrogates, NUL) by U+FFFD.

    Token ids keep the exact answer; a model may well produce such text.
    """
    if _storable(text):
        return text
    text = text.replace("\0", "\ufffd")
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean_generation(g: Generation) -> Generation:
    """``g`` with storable text. Raises InvalidRow for what cannot be mended."""
    if not _storable(g.id):
        raise InvalidRow(f"generation id {g.id!r} has characters that cannot be stored")
    if g.created_at.tzinfo is None:
        raise InvalidRow(f"generation {g.id}: created_at has no time zone")
    count = len(g.output_ids)
    for name, logprobs in (("logprobs", g.logprobs), ("raw_logprobs", g.raw_logprobs)):
        if logprobs and len(logprobs) != count:
            raise InvalidRow(f"generation {g.id}: {len(logprobs)} {name} for {count} output tokens")
    for name, ids in (("prompt_ids", g.prompt_ids), ("output_ids", g.output_ids)):
        if ids and not (min(ids) >= -INT4 and max(ids) < INT4):
            raise InvalidRow(f"generation {g.id}: {name} has a number beyond 32 bits")
    if g.seed is not None and not -INT8 <= g.seed < INT8:
        raise InvalidRow(f"generation {g.id}: seed {g.seed} is beyond 64 bits")
    if not -INT4 <= g.max_tokens < INT4:
        raise InvalidRow(f"generation {g.id}: max_tokens {g.max_tokens} is beyond 32 bits")
    parts: list[str | None] = [*_texts(g), *g.metadata, *g.metadata.values()]
    if _storable("".join(filter(None, parts))):
        return g
    changed = {name: clean_text(text) for name in TEXTS if (text := getattr(g, name)) is not None}
    metadata = {clean_text(key): clean_text(value) for key, value in g.metadata.items()}
    return replace(g, **changed, metadata=metadata)


def check_feedback(f: Feedback) -> None:
    """Raises InvalidRow: what a user says is kept as it is or not at all."""
    for name in ("id", "generation", "signal", "text", "tenant"):
        text = getattr(f, name)
        if text is not None and not _storable(text):
            raise InvalidRow(
                f"feedback {f.id!r}: {name} has a NUL or a lone surrogate, which cannot be stored"
            )
    if f.received_at.tzinfo is None:
        raise InvalidRow(f"feedback {f.id}: received_at has no time zone")
    if f.value is not None and not math.isfinite(f.value):
        raise InvalidRow(f"feedback {f.id}: the value {f.value} is not a finite number")


def _storable(text: str) -> bool:
    return "\0" not in text and _encodable(text)


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
