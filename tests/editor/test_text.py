from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.editor.text import Change, Encoding, Place, apply, clean, common, offset_of

TEXT = st.text(st.sampled_from("ab\n(é😀 "), max_size=40)


@pytest.mark.parametrize(("encoding", "units"), [("utf-8", 6), ("utf-16", 3), ("utf-32", 2)])
def test_characters_are_counted_in_units_of_the_encoding(encoding: Encoding, units: int) -> None:
    assert offset_of("x\né😀b", Place(1, units), encoding) == 4


def test_a_place_behind_its_line_is_the_lines_end() -> None:
    assert offset_of("ab\ncd", Place(0, 99)) == 2
    assert offset_of("ab\ncd", Place(9, 0)) == 5


def test_line_ends_of_other_systems_are_newlines() -> None:
    after, edit = apply("ab", Change("\r\nc\r", Place(0, 1), Place(0, 1)))
    assert (after, edit.inserted) == ("a\nc\nb", "\nc\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_half_a_surrogate_is_replaced_and_nothing_behind_it_moves(encoding: Encoding) -> None:
    units = {"utf-8": 3}.get(encoding, 1)
    after, _ = apply("ab", Change("\ud83d", Place(0, 1), Place(0, 1)), encoding)
    assert after == "a\ufffdb"
    assert offset_of(after, Place(0, 1 + units), encoding) == 2
    assert clean("\ude00\ud83d😀\r\n") == "\ufffd\ufffd😀\n"


@given(TEXT, TEXT)
def test_a_whole_new_text_is_read_as_what_changed(before: str, after: str) -> None:
    got, edit = apply(before, Change(after))
    assert got == after
    put = before[: edit.start] + edit.inserted + before[edit.start + edit.removed :]
    assert put == after
    gone = before[edit.start : edit.start + edit.removed]
    assert not common(gone, edit.inserted)
    assert not common(gone[::-1], edit.inserted[::-1])


@given(TEXT, TEXT, st.data())
def test_a_change_of_a_range_is_as_if_the_text_was_cut(
    before: str, put: str, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(before)))
    end = data.draw(st.integers(start, len(before)))
    change = Change(put, place(before, start), place(before, end))
    assert apply(before, change)[0] == before[:start] + put + before[end:]


def place(text: str, offset: int) -> Place:
    head = text[:offset]
    line = head[head.rfind("\n") + 1 :]
    return Place(head.count("\n"), len(line.encode("utf-16-le")) // 2)
