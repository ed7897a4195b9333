"""Syntaxes whose calls stand between marks, for those that differ in nothing else."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from liveweights.serve.api.syntax.marked import MarkedReader
from liveweights.serve.api.syntax.protocol import (
    NO_BARE_CALL,
    Call,
    Function,
    Schemas,
    in_pattern,
    literal,
)


class Sectioned:
    """Reads what stands between ``begin`` and ``end``. What it lets through are calls, with text
    before them where the marks are tokens, or text alone. ``vocabulary`` has the ids of the marks
    that are tokens."""

    begin: str
    end: str
    others: tuple[str, ...] = ()
    """Marks within."""
    quotes: bool = True

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self.ids = {
            mark: vocabulary[mark]
            for mark in (self.begin, self.end, *self.others)
            if mark in vocabulary
        }

    def parse(self, body: str, names: Collection[str]) -> list[Call] | None:
        """The calls between the two marks; None where it is something else."""
        raise NotImplementedError

    def calls(self, functions: Sequence[Function], *, parallel: bool) -> list[str]:
        """Rules in Lark of which ``calls`` is one or, with ``parallel``, several calls, with all
        their marks."""
        raise NotImplementedError

    def reader(self, schemas: Schemas, /) -> MarkedReader:
        tokens = {id: mark for mark, id in self.ids.items()}
        return MarkedReader(self.begin, self.end, schemas, tokens, self.parse)

    def grammar(
        self, functions: Sequence[Function], *, text: str | None, required: bool, parallel: bool
    ) -> str:
        rules = self.calls(functions, parallel=parallel)
        if required:
            start = ["start: calls"]
        elif text is not None:
            start = [f"start: calls | answer\nanswer: {text}"]
        elif self.begin in self.ids:
            start = [f"start: TEXT? calls | TEXT?\nTEXT: /(.|\\n)*/ & {NO_BARE_CALL}"]
        else:
            no_mark = f"~/(.|\\n)*{in_pattern(self.begin)}(.|\\n)*/"
            start = [
                "start: calls | answer",
                f"answer: TEXT\nTEXT: /(.|\\n)*/ & {NO_BARE_CALL} & {no_mark}",
            ]
        return "\n".join([*start, *rules])

    def mark(self, mark: str) -> str:
        """In Lark."""
        return literal(mark, self.ids.get(mark))


def any_of(functions: Sequence[Function]) -> str:
    """In Lark: the rules ``fn_0``, ``fn_1``, ... of their calls."""
    return " | ".join(f"fn_{i}" for i in range(len(functions)))


def one_or_more(rule: str, between: str, *, parallel: bool) -> str:
    """In Lark."""
    return f"{rule} ({between} {rule})*" if parallel else rule
