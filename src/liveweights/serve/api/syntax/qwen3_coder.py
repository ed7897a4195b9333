"""Qwen3-Coder's syntax, which Qwen3.5 and Nemotron 3 write, too: a function and its parameters
between tags.

https://huggingface.co/Qwen/Qwen3-Coder-480B-A35B-Instruct, chat template.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from liveweights.serve.api.syntax.protocol import Call, Function
from liveweights.serve.api.syntax.sectioned import Sectioned, any_of, one_or_more
from liveweights.serve.api.syntax.tagged import Tagging, make_call, split_name, split_named

BEGIN, END = "<tool_call>", "</tool_call>"
FUNCTION = "<function="
_CLOSING = "</function>"
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
        said = body.strip()
        if not (said.startswith(FUNCTION) and said.endswith(_CLOSING)):
            return None
        named = split_name(said[len(FUNCTION) : -len(_CLOSING)])
        if named is None:
            return None
        name, inner = named
        written = split_named(inner, "<parameter=", "</parameter>")
        if written is None:
            return None
        lines = [(key, text.removeprefix("\n").removesuffix("\n")) for key, text in written]
        return make_call(name.strip(), lines, names)

    def calls(self, functions: Sequence[Function], *, parallel: bool) -> list[str]:
        rules = [
            "calls: " + one_or_more("one", '"\\n"', parallel=parallel),
            f"one: {self.mark(BEGIN)} ({any_of(functions)}) {self.mark(END)}",
        ]
        for i, function in enumerate(functions):
            rules += _TAGGING.rules(i, function)
        return rules
