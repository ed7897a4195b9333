"""An answer that another server gave, made to fit the record's columns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from liveweights.record.clean import (
    INT4,
    INT8,
    NAME_BYTES,
    PERSON_BYTES,
    clip_name,
    clip_person,
)
from liveweights.record.generation import Generation

FLOAT4 = 3.4028234663852886e38
COUNTS = 64
"""Token counts that an answer may report, and the characters of each one's name."""

_NAMES = ("alias", "checkpoint", "finish_reason", "surface", "language")
_PERSONS = ("user", "session")
_IDS = ("prompt_ids", "output_ids")
_LOGPROBS = ("logprobs", "raw_logprobs")
_UNKNOWN = 1.0  # what a server takes where nothing is asked


def fit(g: Generation) -> tuple[Generation, list[str]]:
    """``g`` as the record can keep it, and the names of the fields that were not so.

    Names are clipped so that two stay two, numbers of tokens brought into [0, 2^31), and what has
    no sensible nearest value is left out: a seed beyond 64 bits, token ids beyond 32,
    log-probabilities that are no 32-bit floats, in each case of the whole answer.
    """
    if _fits(g):  # nearly always
        return g, []
    changed: dict[str, Any] = {}
    for name in _NAMES:
        if _is_long(text := getattr(g, name), NAME_BYTES):
            changed[name] = clip_name(text)
    for name in _PERSONS:
        if _is_long(text := getattr(g, name) or "", PERSON_BYTES):
            changed[name] = clip_person(text)
    changed |= {
        name: _UNKNOWN for name in ("temperature", "top_p") if not _is_real(getattr(g, name))
    }
    changed |= {name: [] for name in _IDS if not _are_ids(getattr(g, name))}
    changed |= {name: [] for name in _LOGPROBS if not all(map(_is_real, getattr(g, name)))}
    if g.seed is not None and not -INT8 <= g.seed < INT8:
        changed["seed"] = None
    if not 0 <= g.max_tokens < INT4:
        changed["max_tokens"] = _count(g.max_tokens)
    if not _are_counts(g.usage):
        changed["usage"] = fit_counts(g.usage)
    fitted = replace(g, **changed)
    size = len(fitted.output_ids)
    lost = {name: [] for name in _LOGPROBS if len(getattr(fitted, name)) not in (0, size)}
    return replace(fitted, **lost), list(dict.fromkeys((*changed, *lost)))


def fit_counts(usage: dict[str, int]) -> dict[str, int]:
    """Token counts as the record can keep them."""
    if _are_counts(usage):
        return usage
    kept = [(name, value) for name, value in usage.items() if len(name) <= COUNTS]
    return {name: _count(value) for name, value in kept[:COUNTS]}


def _fits(g: Generation) -> bool:
    return (
        not any(_is_long(getattr(g, name), NAME_BYTES) for name in _NAMES)
        and not any(_is_long(getattr(g, name) or "", PERSON_BYTES) for name in _PERSONS)
        and _is_real(g.temperature)
        and _is_real(g.top_p)
        and (g.seed is None or -INT8 <= g.seed < INT8)
        and 0 <= g.max_tokens < INT4
        and all(_are_ids(getattr(g, name)) for name in _IDS)
        and all(
            len(values) in (0, len(g.output_ids)) and all(map(_is_real, values))
            for values in (g.logprobs, g.raw_logprobs)
        )
        and _are_counts(g.usage)
    )


def _is_long(text: str, most: int) -> bool:
    return 4 * len(text) > most and len(text.encode(errors="replace")) > most


def _is_real(value: float) -> bool:
    """Whether it is a finite 32-bit float."""
    return -FLOAT4 <= value <= FLOAT4


def _are_ids(ids: list[int]) -> bool:
    return not ids or (min(ids) >= -INT4 and max(ids) < INT4)


def _are_counts(usage: dict[str, int]) -> bool:
    return len(usage) <= COUNTS and all(
        len(name) <= COUNTS and 0 <= value < INT4 for name, value in usage.items()
    )


def _count(value: int) -> int:
    return min(max(value, 0), INT4 - 1)
