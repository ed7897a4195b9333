"""What a model thinks before it answers, between two marks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from liveweights.engines.protocol import Token
from liveweights.engines.thinking import ThinkingBudget
from liveweights.serve.api.syntax.marks import Mark, MarkScanner, Piece
from liveweights.serve.api.syntax.protocol import MOST_SPACE, Thought, in_pattern, literal

Prompted = Literal["open", "closed", "free"]
"""What the prompt ends in: thinking that it has begun, thinking that it has ended (there is to be
none), or neither."""
Split = Thought | Token
"""What was thought, or a token of the answer proper."""
QUOTES = frozenset("\"'`")


class Splitter(Protocol):
    """Parts an answer from what was thought before it, while it is sampled."""

    @property
    def tokens(self) -> int:
        """Those of the thinking so far, with its marks."""
        ...

    def push(self, token: Token) -> list[Split]: ...

    def finish(self) -> list[Split]: ...


class Thinker(Protocol):
    """How a family thinks."""

    def prompted(self, prompt: str, continued: str | None) -> Prompted:
        """What ``prompt`` ends in; ``continued`` is the answer that is gone on with, if one is."""
        ...

    def splitter(self, prompted: Prompted) -> Splitter:
        """For one answer."""
        ...

    def allow(self, grammar: str, prompted: Prompted, *, text: bool) -> str:
        """A grammar in Lark of answers that follow ``grammar`` once they have been thought out;
        ``text``: it is of a text, not of calls."""
        ...

    def budget(
        self, tokens: int, prompted: Prompted, encode: Callable[[str], list[int]]
    ) -> ThinkingBudget | None:
        """At most so many tokens of thinking; None where there is none to bound."""
        ...


@dataclass(frozen=True, slots=True)
class Tags:
    """Two marks. ``begin_id`` and ``end_id`` are their tokens, None where they are ordinary text;
    ``calls`` are marks with tokens that a call begins with, which end the thinking, too."""

    begin: str
    end: str
    begin_id: int | None = None
    end_id: int | None = None
    calls: tuple[tuple[str, int], ...] = ()

    def prompted(self, prompt: str, continued: str | None) -> Prompted:
        if continued is not None:
            begun, ended = continued.rfind(self.begin), continued.rfind(self.end)
            return "open" if begun > ended else "closed" if ended >= 0 else "free"
        told = prompt.rstrip()
        if told.endswith(self.begin):
            return "open"
        return "closed" if told.endswith(self.end) else "free"

    def splitter(self, prompted: Prompted) -> TagSplitter:
        return TagSplitter(self, inside=prompted == "open")

    def allow(self, grammar: str, prompted: Prompted, *, text: bool) -> str:
        if prompted == "closed":
            return grammar
        if self.end_id is None:
            rules = f"thought[lazy]: /(.|\\n)*{in_pattern(self.end)}/"
        else:
            rules = f"thought: THOUGHT <[{self.end_id}]>\nTHOUGHT: /(.|\\n)*/"
        begin = literal(self.begin, self.begin_id)
        first = "thought" if prompted == "open" else f"({begin} thought)?"
        return after_thought(grammar, f"{first} /\\s{{0,4}}/", rules)

    def budget(
        self, tokens: int, prompted: Prompted, encode: Callable[[str], list[int]]
    ) -> ThinkingBudget | None:
        if prompted == "closed":
            return None
        opened = prompted == "open"
        begin = None if opened else _ids(self.begin, self.begin_id, encode)
        return ThinkingBudget(tokens, _ids(self.end, self.end_id, encode), self.end, begin)


def _ids(mark: str, id: int | None, encode: Callable[[str], list[int]]) -> tuple[int, ...]:
    return tuple(encode(mark)) if id is None else (id,)


def after_thought(grammar: str, first: str, rules: str) -> str:
    """``grammar`` after the expression ``first``, which needs ``rules``."""
    rest = re.sub(r"^start:", "thought_out:", grammar, flags=re.MULTILINE)
    return f"start: {first} thought_out\n{rules}\n{rest}"


class TagSplitter:
    """Thinking begins where the answer does, and nowhere else; its end counts where it does not
    stand between two quotation marks. White space at its edges belongs to nothing."""

    def __init__(self, tags: Tags, *, inside: bool) -> None:
        self._tags = tags
        marks = {tags.begin: tags.begin_id, tags.end: tags.end_id, **dict(tags.calls)}
        self._scanner = MarkScanner(marks)
        self._state: Literal["start", "inside", "ended", "answer"] = "inside" if inside else "start"
        """``ended``: only white space came after it so far."""
        self._waiting: list[Token] = []
        """At the start: what is of the answer, if nothing is thought. At an end that may be quoted:
        what has come since without a text."""
        self._begun = False
        """Whether anything was thought yet but white space."""
        self._space = ""
        self._quoting = ""
        """The quotation mark before an end mark, until it is known what comes after."""
        self._last = ""
        self._count = 0

    @property
    def tokens(self) -> int:
        return 0 if self._state == "start" else self._count

    def push(self, token: Token) -> list[Split]:
        if self._state == "answer":
            return [token]
        if self._state == "ended":
            return [self._trim(token)]
        self._count += 1
        if self._state == "start":
            self._waiting.append(token)
        pieces = self._scanner.push(token)
        if self._quoting and not pieces and not token.text:  # a text is the scanner's to tell
            self._waiting.append(token)
        return self._take(pieces, token)

    def finish(self) -> list[Split]:
        """No more tokens."""
        if self._state == "start":
            return self._answer()
        split: list[Split] = []
        if self._state == "inside":
            split = self._take(self._scanner.finish(), Token(-1, "", 0.0, 0.0))
        if self._quoting:
            split += self._end()
        elif self._state == "inside" and self._space and self._begun:
            split.append(Thought(self._space))
            self._space = ""
        return split

    def _answer(self) -> list[Split]:
        """Nothing was thought."""
        waiting, self._waiting = self._waiting, []
        self._state, self._count = "answer", 0
        return [*waiting]

    def _take(self, pieces: list[Piece], token: Token) -> list[Split]:
        split: list[Split] = []
        for place, piece in enumerate(pieces):
            if self._state == "start":
                if isinstance(piece, str) and piece.isspace():
                    continue
                if piece != Mark(self._tags.begin):
                    return self._answer()
                self._state, self._waiting = "inside", []
                continue
            if self._quoting:
                text = piece if isinstance(piece, str) else piece.text
                if text[0] != self._quoting:
                    split += self._end()
                else:
                    self._waiting = []
                    self._quoting = ""
                    split += self._think(self._tags.end)
            if self._state == "inside":
                split += self._inside(piece, token)
            else:
                return [*split, *self._rest([*pieces[place:], *self._scanner.finish()], token)]
        if self._state in ("ended", "answer"):
            split += self._rest(self._scanner.finish(), token)
        return split

    def _rest(self, pieces: list[Piece], token: Token) -> list[Split]:
        """What is of the answer already."""
        text = "".join(piece if isinstance(piece, str) else piece.text for piece in pieces)
        return [self._trim(replace(token, id=-1, text=text))] if text else []

    def _inside(self, piece: Piece, token: Token) -> list[Split]:
        if isinstance(piece, str):
            return self._think(piece)
        if piece.text == self._tags.end:
            if self._last in QUOTES and not self._space:
                self._quoting = self._last
                return []
            return self._end()
        if piece.text in dict(self._tags.calls):
            return [*self._end(), self._trim(replace(token, text=piece.text))]
        return self._think(piece.text)

    def _think(self, text: str) -> list[Split]:
        text = self._space + text if self._begun else text.lstrip()
        said = text.rstrip()
        if len(text) - len(said) > MOST_SPACE:
            said = text
        self._space = text[len(said) :]
        if not said:
            return []
        self._begun, self._last = True, said[-1]
        return [Thought(said)]

    def _end(self) -> list[Split]:
        waiting, self._waiting = self._waiting, []
        self._state, self._quoting, self._space = "ended", "", ""
        return [self._trim(token) for token in waiting]

    def _trim(self, token: Token) -> Token:
        if self._state != "ended":
            return token
        text = token.text.lstrip()
        if text:
            self._state = "answer"
        return token if text == token.text else replace(token, text=text)
