from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.cli.output import (
    lay_out,
    lay_out_records,
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


def test_csv_and_json_of_the_same_rows(capsys: pytest.CaptureFixture[str]) -> None:
    show_csv(("=a", "b"), [("@x", 1), (None, 2.5)])
    assert capsys.readouterr().out == "'=a,b\n'@x,1\n,2.5\n"
    value: Any = {"a": "\x1b\x9b\u202e"}
    show_json(value)
    printed = capsys.readouterr().out
    assert json.loads(printed) == value
    assert "\\u009b" in printed
    assert printed.isascii()


ID = "qwen2.5-coder-0.5b-instruct@0fa1b9ef45d5"
ROWS = (
    {"id": ID, "parent": "qwen2.5-coder-0.5b-instruct@1e3817347cbf", "why": "drift " * 30},
    {"id": ID, "parent": None, "why": "ok"},
)


def test_a_pipe_gets_a_line_per_row(capsys: pytest.CaptureFixture[str]) -> None:
    show(ROWS, ("id", "parent", "why"), as_json=False)
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["id", "parent", "why"]
    assert first.startswith(f"{ID}  qwen2.5-coder-0.5b-instruct@1e3817347cbf  drift drift")
    assert second.split() == [ID, "ok"]


def test_a_narrow_terminal_gets_records_with_whole_ids(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("rich.console.Console.is_terminal", True)
    show(ROWS, ("id", "parent", "why"), as_json=False)
    first, second = capsys.readouterr().out.split("\n\n")
    assert first.splitlines()[:2] == [f"id      {ID}", f"parent  {ROWS[0]['parent']}"]
    assert all(len(line) <= 80 for line in first.splitlines())
    assert second == f"id      {ID}\nwhy     ok\n"
    show([{"a": 1, "b": 2}], ("a", "b"), as_json=False)
    assert capsys.readouterr().out == "a  b\n1  2\n"


words = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=60)


@given(st.lists(st.tuples(words, st.lists(words, max_size=8).map(" ".join)), max_size=5))
def test_no_word_is_ever_broken(rows: list[tuple[str, str]]) -> None:
    for lines in (lay_out(("id", "why"), rows), lay_out_records(("id", "why"), rows, 40)):
        shown = " ".join(lines).split()
        for row in rows:
            assert {word for cell in row for word in cell.split()} <= set(shown)


def test_wide_characters_keep_columns_in_line() -> None:
    assert lay_out(("a", "b"), [("日本", "x"), ("y", "z")]) == ["a     b", "日本  x", "y     z"]
