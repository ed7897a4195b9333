"""Halves of surrogate pairs in JSON, as clients write them that cut a text between two units of
UTF-16."""

from __future__ import annotations

import re

_HEX = "[0-9a-fA-F]{2}"
_HIGH, _LOW = f"[89abAB]{_HEX}", f"[c-fC-F]{_HEX}"
_UNIT = r"\\u[dD]"
# Whole pairs do not match, so that nothing is done for each of them.
_HALF = re.compile(
    rf"{_UNIT}(?:{_HIGH}(?!{_UNIT}{_LOW})|(?<!{_UNIT}{_HIGH}{_UNIT}){_LOW})".encode(),
)
_ANY = re.compile(rb"\\u[dD][89a-fA-F]")
_ESCAPED, _ASIDE = b"\\\\", b"\xff\xfe"
"""A backslash that is one, and bytes that no UTF-8 has, which stand for it meanwhile."""


def without_halves(data: bytes) -> bytes:
    """``data`` with U+FFFD in place of each half of a pair that has no other."""
    if _ANY.search(data) is None or _ASIDE in data:  # nearly all; and what is no JSON
        return data
    escapes = data.replace(_ESCAPED, _ASIDE)
    return _HALF.sub(rb"\\ufffd", escapes).replace(_ASIDE, _ESCAPED)
