"""OpenAI's harmony: messages in channels, of which one is what the model thinks, another its calls.

https://cookbook.openai.com/articles/openai-harmony
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal

from liveweights.engines.protocol import Token
from liveweights.engines.thinking import ThinkingBudget
from liveweights.serve.api.syntax.marked import MarkedReader
from liveweights.serve.api.syntax.marks import Mark, MarkScanner, Piece
from liveweights.serve.api.syntax.protocol import (
    Call,
    Function,
    Schemas,
    Thought,
    arguments_rules,
    literal,
    quoted,
    read_arguments,
)
from liveweights.serve.api.syntax.thinking import Prompted, Split, after_thought

START, CHANNEL, MESSAGE = "<|start|>", "<|channel|>", "<|message|>"
END, RETURN, CALL, CONSTRAIN = "<|end|>", "<|return|>", "<|call|>", "<|constrain|>"
MARKS = (START, CHANNEL, MESSAGE, END, RETURN, CALL, CONSTRAIN)
ENDS = frozenset((END, RETURN, CALL))
ASSISTANT = "assistant"
ANALYSIS, FINAL = "analysis", "final"
CALLING = "<|channel|>commentary to=functions."
"""How a call is told to the reader, whatever order the model wrote its header in."""
_TO = "to="
_RECIPIENT = re.compile(r"to=functions\.([\w.:/@-]+)")
MOST_HEADER = 4096
"""Characters that may come before an answer's first mark."""
_HEAD = re.compile(rf"([\w.:/@-]++){re.escape(MESSAGE)}")


class Harmony:
    """``vocabulary`` has the ids of the marks that are tokens."""

    quotes = True

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._ids = {mark: vocabulary.get(mark) for mark in MARKS}

    def reader(self, schemas: Schemas, /) -> MarkedReader:
        return MarkedReader(CALLING, CALL, schemas, {}, _read)

    def grammar(
        self, functions: Sequence[Function], *, text: str | None, required: bool, parallel: bool
    ) -> str:
        """One call at most: a message with a call ends the turn."""
        mark = {name: literal(name, id) for name, id in self._ids.items()}
        rules = ["call: " + " | ".join(f"fn_{i}" for i in range(len(functions)))]
        for i, function in enumerate(functions):
            head = quoted(f"commentary to=functions.{function.name} ")
            json = f'{mark[CONSTRAIN]} "json" {mark[MESSAGE]}'
            rules.append(f"fn_{i}: {mark[CHANNEL]} {head} {json} args_{i} {mark[CALL]}?")
            rules += arguments_rules(i, function)
        if required:
            return "\n".join(["start: call", *rules])
        start = f'start: call | answer\nanswer: {mark[CHANNEL]} "final" {mark[MESSAGE]} said'
        said = f"said: {text or 'TEXT'}" + ("" if text else "\nTEXT: /(.|\\n)*/")
        return "\n".join([start, said, *rules])


def _read(body: str, names: Collection[str]) -> list[Call] | None:
    return read_arguments(_HEAD, CALL, body, names)


class Channels:
    """How harmony thinks: in messages of the channel ``analysis``."""

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._ids = {mark: vocabulary.get(mark) for mark in MARKS}

    def prompted(self, prompt: str, continued: str | None) -> Prompted:
        return "free" if continued is None else "closed"

    def splitter(self, prompted: Prompted) -> ChannelSplitter:
        return ChannelSplitter(self._ids, inside=prompted == "closed")

    def allow(self, grammar: str, prompted: Prompted, *, text: bool) -> str:
        mark = {name: literal(name, id) for name, id in self._ids.items()}
        if prompted == "closed":
            return grammar
        if text:
            final = f'{mark[CHANNEL]} "final" {mark[MESSAGE]}'
            grammar = re.sub(r"^start:", f"start: {final} answered\nanswered:", grammar)
        if self._ids[END] is None:
            body = "thoughts[lazy]: /(.|\\n)*<\\|end\\|>/"
        else:
            body = f"thoughts: THOUGHT {mark[END]}\nTHOUGHT: /(.|\\n)*/"
        head = f'{mark[CHANNEL]} "analysis" {mark[MESSAGE]}'
        thought = f'thought: {head} thoughts {mark[START]} "assistant"'
        return after_thought(grammar, "thought?", f"{thought}\n{body}")

    def budget(
        self, tokens: int, prompted: Prompted, encode: Callable[[str], list[int]]
    ) -> ThinkingBudget | None:
        if prompted == "closed":
            return None
        begin = tuple(encode(f"{CHANNEL}{ANALYSIS}{MESSAGE}"))
        return ThinkingBudget(tokens, tuple(encode(END)), END, begin)


class ChannelSplitter:
    """Leaves out the messages' headers. A call is written out again, for a reader of text. Whoever
    does not begin with a header writes no harmony: that is text. ``inside``: so is it where an
    answer is gone on with."""

    def __init__(self, ids: Mapping[str, int | None], *, inside: bool) -> None:
        self._scanner = MarkScanner(ids)
        self._state: Literal["begin", "between", "header", "thought", "said", "call", "plain"]
        self._state = "said" if inside else "begin"
        self._header: list[str] = []
        self._waiting: list[Token] = []
        self._count = 0
        self._pending = 0
        """Tokens of a header whose channel is not known yet."""
        self._spoken = False

    @property
    def tokens(self) -> int:
        return self._count

    def push(self, token: Token) -> list[Split]:
        if self._state == "plain":
            return [token]
        if self._state == "begin":
            self._waiting.append(token)
        if self._state == "thought":
            self._count += 1
        elif self._state in ("begin", "between", "header"):
            self._pending += 1
        return self._take(self._scanner.push(token), token)

    def finish(self) -> list[Split]:
        """No more tokens."""
        token = Token(-1, "", 0.0, 0.0)
        if self._state in ("begin", "plain"):
            return self._plain()
        split = self._take(self._scanner.finish(), token)
        if self._state == "call":
            split += self._take([Mark(CALL)], token)
        return split

    def _plain(self) -> list[Split]:
        waiting, self._waiting = self._waiting, []
        self._state = "plain"
        return [*waiting]

    def _take(self, pieces: Sequence[Piece], token: Token) -> list[Split]:
        split: list[Split] = []
        for piece in pieces:
            if self._state == "begin":
                if isinstance(piece, str) and not _may_address("".join((*self._header, piece))):
                    return self._plain()
                if isinstance(piece, Mark):
                    if piece.text not in (CHANNEL, START, MESSAGE):
                        return self._plain()
                    self._state, self._waiting = "header", []
            if self._state in ("begin", "header", "between"):
                split += self._head(piece, token)
            elif isinstance(piece, Mark) and piece.text in ENDS:
                if self._state == "call":
                    split.append(replace(token, id=-1, text=CALL))
                self._state, self._header = "between", []
            else:
                split += self._body(piece, token)
        return split

    def _head(self, piece: Piece, token: Token) -> list[Split]:
        if isinstance(piece, str):
            self._header.append(piece)
            return []
        if piece.text != MESSAGE:
            self._state = "header"
            self._header.append(piece.text)
            return []
        header = "".join(self._header)
        channel = header.rpartition(CHANNEL)[2].split(maxsplit=1)[:1]
        recipient = _RECIPIENT.search(header)
        pending, self._pending = self._pending, 0
        if recipient is not None:
            self._state = "call"
            return [replace(token, id=-1, text=f"{CALLING}{recipient[1]}{MESSAGE}")]
        if channel and channel[0].startswith(ANALYSIS):
            self._state = "thought"
            self._count += pending
            return [Thought("\n\n")] if self._count > pending else []
        self._state = "said"
        return [replace(token, id=-1, text="\n\n")] if self._spoken else []

    def _body(self, piece: Piece, token: Token) -> list[Split]:
        text = piece if isinstance(piece, str) else piece.text
        if self._state == "thought":
            return [Thought(text)]
        self._spoken = self._spoken or self._state == "said"
        return [replace(token, id=-1, text=text)]


def _may_address(text: str) -> bool:
    """Whether a header may begin so: with whom the message is for."""
    said = text.lstrip()
    return len(text) <= MOST_HEADER and (not said or said.startswith(_TO) or _TO.startswith(said))
