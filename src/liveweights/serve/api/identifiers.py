"""Identifiers that sort by the time they were made."""

from __future__ import annotations

import secrets
import time


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
