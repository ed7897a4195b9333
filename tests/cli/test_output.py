from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.cli.output import (
    FORMULA,
    NUMBER,
    _cell,
    say,
    show,
    show_csv,
    show_json,
    show_table,
)


def test_markup_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    show([{"a": "[/nope]", "b": "[bold]x[/bold] :smile:"}], ("a", "b"), as_json=False)
    show_table(("[/x]", "[/x]"), [("[red]", None)], title="[/title]")
    say("[/nope] \x1b[2J\nfake")
    printed = capsys.readouterr().out
    for text in ("[/nope]", "[bold]x[/bold] :smile:", "[/x]", "[red]", "[/title]"):
        assert text in printed
    assert printed.endswith("[/nope] \\x1b[2J\\nfake\n")


def test_a_name_makes_no_row_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("user",), [("ada\nfake",), ("\x1b[1A",)])
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == [
        "user",
        "ada\\nfake",
        "\\x1b[1A",
    ]


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
    assert _cell(value) == cell


@given(st.text(st.characters(codec="utf-8")))
def test_no_text_is_a_formula(text: str) -> None:
    found = _cell(text)
    assert isinstance(found, str)
    assert not found.lstrip(" ").startswith(FORMULA) or NUMBER.fullmatch(found)
    row = io.StringIO()
    csv.writer(row).writerow([found])
    assert [[found]] == list(csv.reader(io.StringIO(row.getvalue(), newline="")))


def test_csv_and_json_of_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    show_csv(("=a", "b"), [("@x", 1), (None, 2.5)])
    assert capsys.readouterr().out == "'=a,b\n'@x,1\n,2.5\n"
    value: Any = {"a": "\x1b\x9b\u202e"}
    show_json(value)
    printed = capsys.readouterr().out
    assert json.loads(printed) == value
    assert "\\u009b" in printed
    assert printed.isascii()
