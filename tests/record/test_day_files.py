from __future__ import annotations

from datetime import date
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from liveweights.record.day_files import (
    find_leftovers,
    list_parts,
    name_file,
    part_of,
    remove_files,
)
from liveweights.store.partitions import TABLES

DAY = date(2026, 2, 1)


@given(st.dates(), st.sampled_from(TABLES), st.integers(1, 10**6))
def test_a_name_says_which_part_it_is(day: date, table: str, part: int) -> None:
    assert part_of(name_file(day, table, part)) == part


@given(st.lists(st.integers(1, 100), unique=True))
def test_the_parts_of_a_table_are_in_order(parts: list[int]) -> None:
    names = [name_file(DAY, table, part) for part in parts for table in TABLES]
    expected = [name_file(DAY, "feedback", part) for part in sorted(parts)]
    assert list_parts(names, "feedback") == expected


def test_leftovers_are_files_of_known_days_that_nothing_names(tmp_path: Path) -> None:
    named = name_file(DAY, "feedback")
    others = {named, "2026-02-03.feedback.parquet", "2026-02-31.feedback.parquet", "a.parquet"}
    left = {name_file(DAY, "feedback", 2), f"{named}.partial"}
    for name in others | left:
        (tmp_path / name).touch()
    found = find_leftovers(tmp_path, {named}, {DAY, date(2026, 2, 2)})
    assert {file.name for file in found} == left


def test_only_files_of_the_day_are_removed(tmp_path: Path) -> None:
    kept = {"2026-02-01.generations.parquet", "2026-02-02.generations.2.parquet", "notes.txt"}
    gone = {"2026-02-01.generations.2.parquet", "2026-02-01.feedback.parquet.partial"}
    for name in kept | gone:
        (tmp_path / name).touch()
    remove_files(tmp_path, DAY, ["2026-02-01.generations.parquet"])
    assert {file.name for file in tmp_path.iterdir()} == kept
