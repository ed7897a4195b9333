"""JSON with halves of surrogate pairs, made readable."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.effort import python_calls

from liveweights.http.surrogates import without_halves

# Units of UTF-16 and what else a string may have: halves come alone, in pairs, and turned round.
_units = st.lists(st.sampled_from(["\ud83d", "\ude00", "\\", '"', "u", "d83d", "é", "\n", "a"]))


@given(_units.map("".join))
def test_everything_but_halves_is_as_it_was(text: str) -> None:
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    mended = without_halves(json.dumps(text).encode())
    assert msgspec.json.decode(mended) == whole


@pytest.mark.parametrize("data", [b"", b"\\", b"{", rb'"\ud83d\ude00"', rb'"\\ud83d"', b"\xff\\u"])
def test_what_has_none_is_the_same(data: bytes) -> None:
    assert without_halves(data) == data


MANY = 10_000


@pytest.mark.parametrize(
    "text",
    [r"\n" * MANY + r"\ud83d", r"\\" * MANY + r"\ud83d", r"\ud83d\ude00" * MANY + r"\ude00"],
    ids=["escapes", "backslashes", "pairs"],
)
def test_nothing_is_done_for_each_escape(text: str) -> None:
    """In Python: of a long prompt with one half that would be a second for everybody."""
    data = f'"{text}"'.encode()
    assert python_calls(lambda: without_halves(data)) < 100
    assert without_halves(data) == data[:-7] + rb'\ufffd"'


def test_what_is_no_utf8_is_the_same() -> None:
    data = b'"' + rb"\ud83d" + b"\xff\xfe" + rb'\\"'
    assert without_halves(data) == data
