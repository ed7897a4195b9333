from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from tests.scoreboard.examples import scored

from liveweights.scoreboard.pages import COLUMNS, notes, rows, to_markdown
from liveweights.scoreboard.plot import draw_tables
from liveweights.scoreboard.table import make_tables

GOOD, BAD = [1.0] * 30 + [0.0] * 10, [0.0] * 40
TABLES = make_tables(
    [
        scored("a|b", GOOD, nanos=1_500_000),
        scored("c", BAD),
        scored("c", [*BAD[1:], 1.0], repeat=1, number=2),
        scored("d", BAD[:5], cases=40),
    ]
)


def test_rows_have_every_column() -> None:
    listed = rows(TABLES)
    assert [row["model"] for row in listed] == ["a|b", "c"]
    assert all(set(row) == set(COLUMNS) for row in listed)
    assert (listed[0]["score"], listed[0]["tied"], listed[0]["per_solved"]) == (
        "0.750",
        "a",
        "0.002",
    )


def test_notes_say_what_a_reader_has_to_know() -> None:
    (table,) = TABLES
    said = " ".join(notes(table))
    for words in (
        "40 cases, questions, k = 1, 60 s at most",
        "share a letter are not told apart at 95%",
        "would be found 80% of the time",
        "c a second time, with other seeds: +0.025",
        "d is not ranked: 5 of 40 attempts",
    ):
        assert words in said


def test_groups_that_are_too_few_are_said_to_be() -> None:
    (table,) = make_tables(
        [
            *(scored("a", GOOD, group="g"), scored("b", BAD, group="g")),
            scored("a", GOOD, group="g", repeat=1, number=2),
        ]
    )
    said = " ".join(notes(table))
    assert "No two of 2 models can be told apart, whatever they score" in said
    assert "would be found" not in said
    assert "with other seeds: +0.000, 0% of the cases ended otherwise" in said
    assert {(row["low"], row["high"]) for row in rows([table])} == {("0.000", "1.000")}


def test_imports_are_marked_by_who_published_them() -> None:
    (table,) = make_tables([scored("a", GOOD, source="a lab", harness="theirs")])
    assert "theirs, as published by a lab" in notes(table)[0]


def test_markdown_is_a_table_whatever_the_names_hold() -> None:
    lines = to_markdown(TABLES).splitlines()
    assert lines[0] == "## letters"
    cells = [line.replace("\\|", "").count("|") for line in lines if line.startswith("|")]
    assert len(cells) == 4
    assert len(set(cells)) == 1


def test_the_picture_has_a_panel_and_is_the_same_each_time(tmp_path: Path) -> None:
    draw_tables(TABLES, tmp_path / "a.svg")
    draw_tables(TABLES, tmp_path / "b.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert ElementTree.parse(tmp_path / "a.svg").getroot().tag.endswith("svg")
    with pytest.raises(ValueError, match="nothing is ranked"):
        draw_tables([], tmp_path / "c.svg")
