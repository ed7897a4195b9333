"""Qwen3-Coder's syntax, which Qwen3.5 and Nemotron 3 write, too: a function and its parameters
between tags.

https://huggingface.co/Qwen/Qwen3-Coder-480B-A35B-Instruct, chat template.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from liveweights.serve.api.syntax.protocol import Call, Function
from liveweights.serve.api.syntax.sectioned import Sectioned, any_of, one_or_more
from liveweights.serve.api.syntax.tagged import Tagging, make_call

BEGIN, END = "<tool_call>", "</tool_call>"
FUNCTION = "<function="
_BODY = re.compile(r"\s*<function=([^>\n]+)>(.*)</function>\s*", re.DOTALL)
_PARAMETER = re.compile(r"\s*<parameter=([^>\n]+)>\n?(.*?)\n?</parameter>\s*", re.DOTALL)
_TAGGING = Tagging(
    head="\n<function={}>\n",
    before="<parameter={}>\n",
    after="\n</parameter>\n",
    tail="</function>\n",
)


class Qwen3Coder(Sectioned):
    begin, end = BEGIN, END
    quotes = False

    def parse(self, body: str, names: Collection[str]) -> list[Call] | None:
        match = _BODY.fullmatch(body)
        if match is None or _PARAMETER.sub("", match[2]).strip():
            return None
        return make_call(match[1].strip(), _PARAMETER.findall(match[2]), names)

    def calls(self, functions: Sequence[Function], *, parallel: bool) -> list[str]:
        rules = [
            "calls: " + one_or_more("one", '"\\n"', parallel=parallel),
            f"one: {self.mark(BEGIN)} ({any_of(functions)}) {self.mark(END)}",
        ]
        for i, function in enumerate(functions):
            rules += _TAGGING.rules(i, function)
        return rules
