"""Halves of surrogate pairs in JSON, as clients write them that cut a text between two units of
UTF-16."""

from __future__ import annotations

import re

_ESCAPES = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    rb"|\\.",
    re.DOTALL,
)
_ANY = re.compile(rb"\\u[dD][89a-fA-F]")


def without_halves(data: bytes) -> bytes:
    """``data`` with U+FFFD in place of each half of a pair that has no other."""
    if _ANY.search(data) is None:  # nearly all
        return data
    return _ESCAPES.sub(lambda found: rb"\ufffd" if found["half"] else found[0], data)
