"""Kimi's syntax (K2 and later): a section of calls, each with a numbered name and JSON.

https://huggingface.co/moonshotai/Kimi-K2-Instruct/blob/main/docs/tool_call_guidance.md
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from liveweights.serve.api.syntax.protocol import (
    Call,
    Function,
    arguments_rules,
    quoted,
    read_arguments,
)
from liveweights.serve.api.syntax.sectioned import Sectioned, any_of

SECTION_BEGIN, SECTION_END = "<|tool_calls_section_begin|>", "<|tool_calls_section_end|>"
CALL_BEGIN, CALL_END = "<|tool_call_begin|>", "<|tool_call_end|>"
ARGUMENTS = "<|tool_call_argument_begin|>"
_HEAD = re.compile(
    rf"\s*+{re.escape(CALL_BEGIN)}\s*+(?:functions\.)?([\w.:/@-]+?)(?::\d++)?\s*+"
    rf"{re.escape(ARGUMENTS)}"
)


class Kimi(Sectioned):
    begin, end = SECTION_BEGIN, SECTION_END
    others = (CALL_BEGIN, CALL_END, ARGUMENTS)

    def parse(self, body: str, names: Collection[str]) -> list[Call] | None:
        return read_arguments(_HEAD, CALL_END, body, names)

    def calls(self, functions: Sequence[Function], *, parallel: bool) -> list[str]:
        some = "one+" if parallel else "one"
        rules = [
            f"calls: {self.mark(SECTION_BEGIN)} {some} {self.mark(SECTION_END)}",
            f"one: {self.mark(CALL_BEGIN)} ({any_of(functions)}) {self.mark(CALL_END)}",
        ]
        for i, function in enumerate(functions):
            head = quoted(f"functions.{function.name}:")
            rules.append(f"fn_{i}: {head} /[0-9]{{1,3}}/ {self.mark(ARGUMENTS)} args_{i}")
            rules += arguments_rules(i, function)
        return rules
