"""GLM's syntax (4.5 and later): a name, then keys and values between tags.

https://huggingface.co/zai-org/GLM-4.5 and .../GLM-4.7, chat templates.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from liveweights.serve.api.syntax.protocol import Call, Function
from liveweights.serve.api.syntax.sectioned import Sectioned, any_of, one_or_more
from liveweights.serve.api.syntax.tagged import Tagging, make_call, split_elements

BEGIN, END = "<tool_call>", "</tool_call>"
KEY_BEGIN, KEY_END = "<arg_key>", "</arg_key>"
VALUE_BEGIN, VALUE_END = "<arg_value>", "</arg_value>"
_TAGGING = Tagging(
    head="{}\n",
    before="<arg_key>{}</arg_key>\n<arg_value>",
    after="</arg_value>\n",
    tail="",
)
_PACKED = Tagging(
    head="{}", before="<arg_key>{}</arg_key><arg_value>", after="</arg_value>", tail=""
)
PACKED = "</arg_value><arg_key>"
"""In templates that write no line breaks between the tags."""


class Glm(Sectioned):
    """``packed``: without line breaks, as 4.7 has it."""

    begin, end = BEGIN, END
    others = (KEY_BEGIN, KEY_END, VALUE_BEGIN, VALUE_END)
    quotes = False

    def __init__(self, vocabulary: Mapping[str, int], *, packed: bool = False) -> None:
        super().__init__(vocabulary)
        self._packed = packed

    def parse(self, body: str, names: Collection[str]) -> list[Call] | None:
        name, key, rest = body.partition(KEY_BEGIN)
        pairs = split_elements(key + rest, KEY_BEGIN, VALUE_END)
        if pairs is None:
            return None
        written: list[tuple[str, str]] = []
        for pair in pairs:
            key, _, value = pair.partition(KEY_END)
            value = value.lstrip()
            if not value.startswith(VALUE_BEGIN):
                return None
            written.append((key, value.removeprefix(VALUE_BEGIN)))
        return make_call(name.strip(), written, names)

    def calls(self, functions: Sequence[Function], *, parallel: bool) -> list[str]:
        between = "" if self._packed else '"\\n"'
        tagging = _PACKED if self._packed else _TAGGING
        rules = [
            "calls: " + one_or_more("one", between, parallel=parallel),
            f"one: {self.mark(BEGIN)} ({any_of(functions)}) {self.mark(END)}",
        ]
        for i, function in enumerate(functions):
            rules += tagging.rules(i, function)
        return rules
