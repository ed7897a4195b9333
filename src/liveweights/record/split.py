"""Which part of the data a row belongs to: what is learnt from never measures the result."""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["train", "held_back"]


def split_key(tenant: str, session: str | None, user: str | None, id: str) -> str:
    """What stays together: a session; without one a user; without either the row itself, with those
    whose session is named after it: the conversation that it began."""
    if session:
        return f"{tenant}\0session\0{session}"
    if user:
        return f"{tenant}\0user\0{user}"
    return f"{tenant}\0session\0{id}"


def split_of(key: str, held_back_share: float) -> Split:
    """The side of ``key``: the same in every cycle and on every machine.

    A key that is held back at one share is held back at every larger one.
    """
    return "held_back" if place_of(key) < held_back_share else "train"


def place_of(key: str) -> float:
    """A number in [0, 1) that is drawn from ``key`` alone."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
