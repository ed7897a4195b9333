"""A replayed developer: types a real file top to bottom and, here and there, gets a suggestion.

The editor asks in two situations. After Enter, with the cursor at the indentation that the
developer is about to write at (``next_line``): the prompt ends in a newline and spaces. And in
mid-line, after a token and the space behind it (``rest_of_line``). Either way it asks for the
text up to the end of the line.

The editor asks at code only: not inside docstrings and comments, not for a line with a trailing
comment (prose is nobody's to guess), not for a rest that consists of brackets and punctuation.
"""

from __future__ import annotations

import io
import random
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from liveweights.replay import typescript

Language = Literal["python", "typescript"]
Kind = Literal["next_line", "rest_of_line"]
Outcome = Literal["accepted", "rejected", "silence"]

STOP = "\n"


@dataclass(frozen=True, slots=True)
class Position:
    """One request of the editor. ``prompt + expected`` is a piece of the file, character by
    character; ``line`` counts from 1, ``column`` from 0, and ``expected`` ends with the line."""

    file: str
    line: int
    column: int
    kind: Kind
    prompt: str
    expected: str
    language: Language = "python"

    @property
    def correction(self) -> str:
        """What the developer wrote instead, with the Enter that ends the line."""
        return self.expected + STOP


def judge(suggestion: str, expected: str) -> Outcome:
    """Accepted exactly if it is what the developer went on to write; blanks at the end of the
    line do not count. Nothing but blanks is silence: the editor shows nothing."""
    suggestion = suggestion.rstrip()
    if not suggestion:
        return "silence"
    return "accepted" if suggestion == expected.rstrip() else "rejected"


def positions(
    text: str,
    *,
    file: str = "",
    language: Language = "python",
    seed: int = 0,
    share: float = 0.5,
    mid_share: float = 0.5,
    window: int = 1000,
    min_context: int = 160,
) -> list[Position]:
    """Where the editor asks while ``text`` is typed, in order; fixed by ``seed`` and ``file``.

    ``share`` of the code lines get a request, ``mid_share`` of these in mid-line. A prompt is
    at most ``window`` characters (about 300 tokens), at least ``min_context``, and begins at a
    line; when it would grow longer its beginning jumps forward by half the window, so that
    nearly every prompt is the last one continued. A file that does not tokenise has none.
    """
    draw = random.Random(f"{seed}:{file}")
    lines = text.split("\n")
    offsets = _line_offsets(lines)
    places = list[Position]()
    start_line = 0
    code_lines = _code_lines if language == "python" else typescript.code_lines
    for number, cuts in code_lines(text):
        line = lines[number].rstrip()
        # Both are drawn for every line, so that one option does not reshuffle the other.
        asked, mid, choice = draw.random() < share, draw.random() < mid_share, draw.random()
        indent = len(line) - len(line.lstrip())
        fit = [cut for cut in cuts if cut > indent and _is_worth_asking(line[cut:])]
        if not asked or not (fit if mid else _is_worth_asking(line[indent:])):
            continue
        column = fit[int(choice * len(fit))] if mid else indent
        cursor = offsets[number] + column
        start_line = _window_start(offsets, start_line, number, cursor, window=window)
        start = offsets[start_line]
        if not min_context <= cursor - start <= window:
            continue
        kind: Kind = "rest_of_line" if mid else "next_line"
        prompt = text[start:cursor]
        places.append(Position(file, number + 1, column, kind, prompt, line[column:], language))
    return places


def _window_start(offsets: list[int], start: int, number: int, cursor: int, *, window: int) -> int:
    """The line that the prompt begins at: ``start`` as long as the prompt fits, else the first
    line that leaves at most half a window."""
    if cursor - offsets[start] <= window:
        return start
    while start < number and cursor - offsets[start] > window // 2:
        start += 1
    return start


def _line_offsets(lines: list[str]) -> list[int]:
    offsets = [0]
    for line in lines:
        offsets.append(offsets[-1] + len(line) + 1)
    return offsets


def _is_worth_asking(rest: str) -> bool:
    """Whether there is something to suggest: at least a name or a number."""
    return any(character.isalnum() for character in rest)


def _code_lines(text: str) -> Iterator[tuple[int, list[int]]]:
    """Lines (from 0) of code, each with the columns where a token begins behind another one.

    Left out are lines that a multi-line string touches, strings that are statements (docstrings)
    and lines with a comment.
    """
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    except (tokenize.TokenError, SyntaxError):
        return
    prose = set[int]()
    cuts = dict[int, list[int]]()
    statement = True  # whether the next token begins a statement
    for token in tokens:
        first, last = token.start[0] - 1, token.end[0] - 1
        if (
            token.type == tokenize.COMMENT
            or first != last
            or (statement and token.type == tokenize.STRING)
        ):
            prose.update(range(first, last + 1))
        if token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            statement = True
        elif token.type not in (tokenize.NL, tokenize.COMMENT):
            statement = False
            if token.type != tokenize.ENDMARKER:
                columns = cuts.setdefault(first, [])
                # The editor asks where a name, a number or a string comes next.
                if token.type in (tokenize.NAME, tokenize.NUMBER, tokenize.STRING):
                    columns.append(token.start[1])
    for number in sorted(cuts.keys() - prose):
        yield number, cuts[number]
