from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.spreadsheet import FORMULA, NUMBER, cell_of


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd", "'+cmd"),
        ("-x", "'-x"),
        ("@sum(a)", "'@sum(a)"),
        ("\tx", "'\tx"),
        ("\rx", "'\\rx"),
        ("\n=x", "'\n=x"),
        ("  =x", "'  =x"),
        ("\uff1dx", "'\uff1dx"),
        ("-1.5", "-1.5"),
        ("+1e5", "+1e5"),
        ("plain", "plain"),
        ("a\r\nb\tc", "a\r\nb\tc"),
        ("a\x1b[2J", "a\\x1b[2J"),
        (-1.5, -1.5),
        (None, None),
        ([1, "=x"], '[1,"=x"]'),
    ],
)
def test_a_cell_is_no_formula(value: object, cell: object) -> None:
    assert cell_of(value) == cell


@given(st.text(st.characters(codec="utf-8")))
def test_no_text_is_a_formula(text: str) -> None:
    found = cell_of(text)
    assert isinstance(found, str)
    assert not found.lstrip(" ").startswith(FORMULA) or NUMBER.fullmatch(found)
    row = io.StringIO()
    csv.writer(row).writerow([found])
    assert [[found]] == list(csv.reader(io.StringIO(row.getvalue(), newline="")))
