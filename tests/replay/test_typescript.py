from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from liveweights.replay.developer import positions
from liveweights.replay.typescript import code_lines

TEXT = """'use strict';
/** Adds
 * two numbers. */
export function add(a: number, b: number): number {
  return a + b; // the sum
}
const greeting = `hello
  ${name}, you`;
const pattern = /a"b/g;
const url = "https://example.com/*no comment*/";
"""


def test_comments_strings_alone_and_templates_of_several_lines_are_left_out() -> None:
    lines = TEXT.split("\n")
    kept = [lines[number] for number, _ in code_lines(TEXT)]
    assert kept == [lines[3], "}", lines[8], lines[9]]


def test_the_editor_asks_where_names_numbers_and_strings_begin() -> None:
    found = dict(code_lines(TEXT))
    line = TEXT.split("\n")[3]
    assert {line[column:].split()[0] for column in found[3]} >= {"function", "add(a:", "number,"}
    assert TEXT.split("\n")[9][found[9][-1]] == '"'


def test_what_cannot_be_read_has_no_lines() -> None:
    assert list(code_lines('const a = "\\u{zz\nconst § = 1;')) == []


pieces = st.lists(st.sampled_from(TEXT.splitlines(keepends=True)), max_size=40).map("".join)


@given(pieces, st.integers(0, 5))
def test_a_prompt_and_what_follows_are_a_piece_of_the_file(text: str, seed: int) -> None:
    for place in positions(text, language="typescript", seed=seed, min_context=0):
        line = text.split("\n")[place.line - 1]
        assert place.prompt + place.expected in text
        assert line[place.column :].rstrip() == place.expected
        assert place.language == "typescript"
        assert "//" not in line or "http" in line
