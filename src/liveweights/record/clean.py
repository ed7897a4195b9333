"""What Postgres can keep: mended before a row joins a batch, so that it cannot spoil others."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from operator import attrgetter
from typing import Any

from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation

log = logging.getLogger(__name__)

INT4 = 2**31
INT8 = 2**63
FLOAT4 = 3.4e38
NAMES = (
    *("alias", "checkpoint", "endpoint", "finish_reason", "tenant", "surface", "language"),
    *("user", "session"),
)
TEXTS = (*NAMES, "output", "healed", "reasoning", "prompt")
"""The text fields of a generation that may be mended; its id may not."""

NAME_BYTES = 512
"""Most UTF-8 bytes of what names an answer's kind; any four of them fit into an index entry."""
PERSON_BYTES = 2048
"""Most UTF-8 bytes of who asked: with a tenant's name it fits into an index entry."""
FEEDBACK_BYTES = 4 * 512
"""Most UTF-8 bytes of a feedback's id."""
METADATA_ENTRIES = 64
METADATA_BYTES = 2048
LONGEST_TEXT = 2**24
"""Most characters of an answer or a prompt."""
LONGEST_IDS = 2**22

_SHORT = 128  # characters that are never more bytes than NAME_BYTES
_texts = attrgetter(*TEXTS)
_names = attrgetter(*NAMES)


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


def clip_name(text: str, most: int = NAME_BYTES) -> str:
    """Storable text of at most ``most`` UTF-8 bytes: what is longer ends with ``~`` and 32 hex
    digits of a hash of the whole, so that two names stay two."""
    text = clean_text(text)
    if 4 * len(text) <= most or len(encoded := text.encode()) <= most:
        return text
    digest = hashlib.blake2b(encoded, digest_size=16).hexdigest()
    return encoded[: most - len(digest) - 1].decode(errors="ignore") + "~" + digest


def clip_person(text: str) -> str:
    """A user or session as it is recorded."""
    return clip_name(text, PERSON_BYTES)


def clean_generation(g: Generation) -> Generation:
    """``g`` as it can be stored: names and metadata are clipped, numbers that do not fit are left
    out. Raises InvalidRow for what is ours to get right: the id, and the time."""
    if not _storable(g.id):
        raise InvalidRow(f"generation id {g.id!r} has characters that cannot be stored")
    if g.created_at.tzinfo is None:
        raise InvalidRow(f"generation {g.id}: created_at has no time zone")
    if wrong := _wrong_numbers(g):
        log.warning("generation %s is recorded without its %s", g.id, ", ".join(wrong))
        g = replace(g, **wrong)
    if g.shaping and not _storable("".join(text for some in g.shaping.values() for text in some)):
        g = replace(g, shaping={})  # other strings would end the answer elsewhere
    texts = _texts(g)
    names = [text for text in texts[: len(NAMES)] if text is not None]
    metadata = g.metadata
    if (
        max(map(len, names)) <= _SHORT
        and (not metadata or _fits(metadata))
        and len(g.output) + len(g.reasoning) + len(g.prompt) <= LONGEST_TEXT
        and _storable("".join([*filter(None, texts), *metadata, *metadata.values()]))
    ):
        return g
    changed: dict[str, Any] = {name: clip_name(getattr(g, name)) for name in NAMES[:-2]}
    changed |= {
        name: clip_person(text) for name in NAMES[-2:] if (text := getattr(g, name)) is not None
    }
    changed |= {
        name: clean_text(getattr(g, name)[:LONGEST_TEXT])
        for name in ("output", "healed", "reasoning")
    }
    # Half of a prompt would be another one.
    changed["prompt"] = clean_text(g.prompt) if len(g.prompt) <= LONGEST_TEXT else ""
    changed["metadata"] = {
        clip_name(key): clip_name(value, METADATA_BYTES)
        for key, value in list(metadata.items())[:METADATA_ENTRIES]
    }
    return replace(g, **changed)


def clamp_numbers(g: Generation) -> Generation:
    """``g`` where a number has no 4-byte form: sampled with the nearest that has, and not known
    how probably."""
    temperature, top_p = (max(-FLOAT4, min(FLOAT4, n)) for n in (g.temperature, g.top_p))
    return replace(
        g, temperature=temperature, top_p=top_p, logprobs=[], raw_logprobs=[], selection=None
    )


def check_feedback(f: Feedback) -> None:
    """Raises InvalidRow: what a user says is kept as it is or not at all."""
    for name in ("id", "generation", "signal", "text", "tenant"):
        text = getattr(f, name)
        if text is not None and not _storable(text):
            raise InvalidRow(
                f"feedback {f.id!r}: {name} has a NUL or a lone surrogate, which cannot be stored"
            )
    if len(f.id) > FEEDBACK_BYTES // 4 and len(f.id.encode()) > FEEDBACK_BYTES:
        raise InvalidRow(f"feedback {f.id[:50]!r}...: the id has more than {FEEDBACK_BYTES} bytes")
    if f.text is not None and len(f.text) > LONGEST_TEXT:
        raise InvalidRow(f"feedback {f.id!r}: the text has more than {LONGEST_TEXT} characters")
    if f.received_at.tzinfo is None:
        raise InvalidRow(f"feedback {f.id}: received_at has no time zone")
    if f.value is not None and not math.isfinite(f.value):
        raise InvalidRow(f"feedback {f.id}: the value {f.value} is not a finite number")


def _wrong_numbers(g: Generation) -> dict[str, Any]:
    """The fields whose numbers do not fit, with what stands in for them."""
    changed: dict[str, Any] = {}
    count = len(g.output_ids)
    if not _fit(g.prompt_ids):
        changed["prompt_ids"] = []
    if not _fit(g.output_ids):
        changed |= {"output_ids": [], "logprobs": [], "raw_logprobs": []}
    else:
        for name, logprobs in (("logprobs", g.logprobs), ("raw_logprobs", g.raw_logprobs)):
            if logprobs and len(logprobs) != count:
                changed[name] = []
    if g.seed is not None and not -INT8 <= g.seed < INT8:
        changed["seed"] = None
    if not 0 <= g.max_tokens < INT4:
        changed["max_tokens"] = min(max(g.max_tokens, 0), INT4 - 1)
    if g.usage and not all(map(_countable, g.usage.values())):
        changed["usage"] = {name: n for name, n in g.usage.items() if _countable(n)}
    return changed


def _fit(ids: list[int]) -> bool:
    return not ids or (min(ids) >= -INT4 and max(ids) < INT4 and len(ids) <= LONGEST_IDS)


def _countable(count: object) -> bool:
    """Whether it can be a number of tokens: sums of these stay in 64 bits."""
    return type(count) is int and 0 <= count < INT4


def _fits(metadata: Mapping[str, str]) -> bool:
    return (
        len(metadata) <= METADATA_ENTRIES
        and max(map(len, metadata)) <= _SHORT
        and max(map(len, metadata.values())) <= METADATA_BYTES // 4
    )


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
