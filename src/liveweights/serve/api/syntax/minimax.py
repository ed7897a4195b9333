"""MiniMax' syntax (M2): invocations and their parameters between tags.

https://huggingface.co/MiniMaxAI/MiniMax-M2/blob/main/docs/tool_calling_guide.md
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from liveweights.serve.api.syntax.protocol import Call, Function
from liveweights.serve.api.syntax.sectioned import Sectioned, any_of
from liveweights.serve.api.syntax.tagged import Tagging, make_call, split_named

BEGIN, END = "<minimax:tool_call>", "</minimax:tool_call>"
M3 = "]<]minimax[>["
"""Before each tag of M3's calls, whose arguments are tags within tags: another syntax."""
_TAGGING = Tagging(
    head='<invoke name="{}">\n',
    before='<parameter name="{}">',
    after="</parameter>\n",
    tail="</invoke>\n",
)


class MiniMax(Sectioned):
    begin, end = BEGIN, END
    quotes = False

    def parse(self, body: str, names: Collection[str]) -> list[Call] | None:
        calls: list[Call] = []
        for name, inner in split_named(body, "<invoke name=", "</invoke>") or ():
            written = split_named(inner, "<parameter name=", "</parameter>")
            call = None if written is None else make_call(name, written, names)
            if call is None:
                return None
            calls += call
        return calls or None

    def calls(self, functions: Sequence[Function], *, parallel: bool) -> list[str]:
        some = f"({any_of(functions)}){'+' if parallel else ''}"
        rules = [f'calls: {self.mark(BEGIN)} "\\n" {some} {self.mark(END)}']
        for i, function in enumerate(functions):
            rules += _TAGGING.rules(i, function)
        return rules
