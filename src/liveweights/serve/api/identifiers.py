"""Identifiers that sort by the time they were made."""

from __future__ import annotations

import re
import secrets
import time

_ITEM = re.compile(r"[a-z]+_([0-9a-f]{32})[0-9a-f]{4,}")


def make_id(prefix: str) -> str:
    """``prefix`` and the 32 hex digits of a version 7 UUID (RFC 9562, section 5.7)."""
    return identifier(prefix, time.time_ns() // 1_000_000, secrets.randbits(74))


def identifier(prefix: str, milliseconds: int, random: int) -> str:
    """That of a given time since 1970, with the lowest 74 bits of ``random``."""
    value = (
        (milliseconds & 0xFFFF_FFFF_FFFF) << 80
        | 0x7 << 76
        | (random >> 62 & 0xFFF) << 64
        | 0b10 << 62
        | random & (1 << 62) - 1
    )
    return f"{prefix}_{value:032x}"


def item_of(response: str, prefix: str, place: int) -> str:
    """The id of a response's item, in which the response is found again."""
    return f"{prefix}_{response.removeprefix('resp_')}{place:04x}"


def response_of_item(item: str) -> str | None:
    """The id of the response that an item with such an id is of; None for any other id."""
    found = _ITEM.fullmatch(item)
    return f"resp_{found[1]}" if found else None
