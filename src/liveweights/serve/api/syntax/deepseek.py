"""DeepSeek's syntax: a section of calls, each ``name`` and JSON (V3.1), or ``function``, the name
and JSON in a fence (V3, R1).

https://huggingface.co/deepseek-ai/DeepSeek-V3.1 and .../DeepSeek-R1, chat templates.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from liveweights.serve.api.syntax.protocol import (
    Call,
    Function,
    arguments_rules,
    quoted,
    read_arguments,
)
from liveweights.serve.api.syntax.sectioned import Sectioned, any_of

CALLS_BEGIN, CALLS_END = "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"
CALL_BEGIN, CALL_END = "<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>"
SEPARATOR = "<｜tool▁sep｜>"
_HEAD = re.compile(
    rf"\s*+{CALL_BEGIN}(?:function{SEPARATOR})?\s*+([\w.:/@-]++)"
    rf"(?:\s*+{SEPARATOR}|[^\S\n]*+\n)"
)


class DeepSeek(Sectioned):
    """``fenced``: as V3 and R1 have it."""

    begin, end = CALLS_BEGIN, CALLS_END
    others = (CALL_BEGIN, CALL_END, SEPARATOR)

    def __init__(self, vocabulary: Mapping[str, int], *, fenced: bool = False) -> None:
        super().__init__(vocabulary)
        self._fenced = fenced

    def parse(self, body: str, names: Collection[str]) -> list[Call] | None:
        return read_arguments(_HEAD, CALL_END, body, names)

    def calls(self, functions: Sequence[Function], *, parallel: bool) -> list[str]:
        between = '("\\n" one)*' if self._fenced else "one*"
        rules = [
            f"calls: {self.mark(CALLS_BEGIN)} one {between if parallel else ''}"
            f" {self.mark(CALLS_END)}",
            f"one: {self.mark(CALL_BEGIN)} ({any_of(functions)}) {self.mark(CALL_END)}",
        ]
        for i, function in enumerate(functions):
            name, separator = quoted(function.name), self.mark(SEPARATOR)
            if self._fenced:
                fence = '"\\n```json\\n"'
                rules.append(f'fn_{i}: "function" {separator} {name} {fence} args_{i} "\\n```"')
            else:
                rules.append(f"fn_{i}: {name} {separator} args_{i}")
            rules += arguments_rules(i, function)
        return rules
