"""Lines of TypeScript at which an editor asks, as `developer` has them of Python."""

from __future__ import annotations

from collections.abc import Iterator

from pygments.lexers.javascript import TypeScriptLexer
from pygments.token import Comment, Error, Keyword, Name, Number, String


def code_lines(text: str) -> Iterator[tuple[int, list[int]]]:
    """Lines (from 0) of code, each with the columns where a name, a number or a string begins.

    Left out are lines with a comment, lines that a literal or comment of several lines touches,
    and strings that are statements ("use strict"). A text that Pygments cannot read has none.
    """
    prose = set[int]()
    cuts = dict[int, list[int]]()
    bare = dict[int, bool]()  # whether a line holds nothing but one string
    number = start = 0
    for offset, kind, value in TypeScriptLexer().get_tokens_unprocessed(text):
        newlines = text.count("\n", start, offset)
        number += newlines
        start = offset
        if kind in Error:
            return
        if not value.strip():
            continue
        first, last = number, number + value.rstrip("\n").count("\n")
        column = offset - (text.rfind("\n", 0, offset) + 1)
        if kind in Comment or first != last:
            prose.update(range(first, last + 1))
        columns = cuts.setdefault(first, [])
        if kind in String.Backtick:
            continue  # a piece of a template: its beginning is not told from its end
        if kind in Name or kind in Keyword or kind in Number or kind in String:
            columns.append(column)
        if value != ";":
            bare[first] = first not in bare and kind in String
    alone = {line for line, only in bare.items() if only}
    for line in sorted(cuts.keys() - prose - alone):
        yield line, cuts[line]
