"""How much a request asks for at most: tokens of an answer, answers, prompts. Pure.

Servers differ in which of two members counts, and some read numbers that are written as text:
the larger counts here, and what is not understood limits nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, cast

import msgspec

from liveweights.record.clean import INT4

_DIGITS = 20


class Prompts(NamedTuple):
    """How many prompts there are, and token ids in all of them."""

    number: int
    ids: int


ONE = Prompts(1, 0)


def find_limit(given: Iterable[Any]) -> int:
    """Most tokens of an answer, by the members that say so; 0 where none limits it."""
    limits = [_whole(value) for value in given if value is not None]
    return 0 if min(limits, default=0) <= 0 else max(limits)


def count_answers(given: Iterable[Any]) -> int:
    """How many are sampled for a prompt, by the members that say so: at least 1."""
    return min(max([1, *map(_whole, given)]), INT4)


def measure(prompt: bytes) -> Prompts:
    """``prompt`` is JSON: a text, token ids, both in turn, or a list of such prompts."""
    if not prompt.lstrip().startswith(b"["):
        return ONE
    try:
        parts: list[Any] = msgspec.json.decode(prompt)
    except (msgspec.DecodeError, RecursionError):
        return ONE
    ids = sum(map(_count_ids, parts))
    if any(type(part) is int for part in parts):
        return Prompts(1, ids)
    return Prompts(max(1, len(parts)), ids)


def _count_ids(part: Any) -> int:
    if isinstance(part, list):
        return sum(type(id) is int for id in cast(list[Any], part))
    return int(type(part) is int)


def _whole(value: Any) -> int:
    """The number that a lenient server takes it for; 0 where it is none."""
    if type(value) is str and len(value) <= _DIGITS and value.strip().isdecimal():
        return int(value)
    return int(value) if type(value) in (int, float) else 0
