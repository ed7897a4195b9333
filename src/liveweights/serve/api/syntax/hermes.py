"""Hermes' syntax, which Qwen and many others took over: JSON between ``<tool_call>`` markers.

https://github.com/NousResearch/Hermes-Function-Calling
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from liveweights.serve.api.syntax.marked import MarkedReader
from liveweights.serve.api.syntax.protocol import (
    NO_BARE_CALL,
    Function,
    Schemas,
    arguments_rules,
    quoted,
)

BEGIN, END = "<tool_call>", "</tool_call>"


class Hermes:
    """``begin`` and ``end`` are the ids of the markers where they are tokens of their own, as in
    Qwen's vocabulary; None where they are ordinary text."""

    quotes = True

    def __init__(self, begin: int | None = None, end: int | None = None) -> None:
        self._tokens = {id: mark for id, mark in ((begin, BEGIN), (end, END)) if id is not None}
        self._begin = quoted(BEGIN) if begin is None else f"<[{begin}]>"
        self._end = quoted("}\n" + END) if end is None else f'"}}\\n" <[{end}]>'
        # In text no token of its own occurs. Where the marker is text, it ends the text before it,
        # wherever it comes.
        self._open = "open: TEXT " if begin is not None else "open[lazy]: TEXT "
        self._rest = (
            "TEXT" if begin is not None else f"REST\nREST: TEXT & ~/(.|\\n)*{BEGIN}(.|\\n)*/"
        )

    def reader(self, schemas: Schemas, /) -> MarkedReader:
        return MarkedReader(BEGIN, END, schemas, self._tokens)

    def grammar(
        self, functions: Sequence[Function], *, text: str | None, required: bool, parallel: bool
    ) -> str:
        rules: list[str] = []
        for i, function in enumerate(functions):
            rules.append(f"fn_{i}: {quoted(head(function))} args_{i} {self._end}")
            rules += arguments_rules(i, function)
        bodies = " | ".join(f"fn_{i}" for i in range(len(functions)))
        rules.append(f'body: "\\n" ({bodies})')
        begin = self._begin
        if required or text is not None:
            more = f' ("\\n" {begin} body)*' if parallel else ""
            rules.append(f"calls: {begin} body{more}")
            rules.append("start: calls" if required else f"start: calls | answer\nanswer: {text}")
        else:
            rules.append(f"{self._open}{begin}\ncall: open body")
            rules.append(f"TEXT: /(.|\\n)*/ & {NO_BARE_CALL}")
            rules.append(f"start: call{'*' if parallel else '?'} rest\nrest: {self._rest}")
        return "\n".join(reversed(rules))


def head(function: Function) -> str:
    """What a call of ``function`` begins with, up to its arguments."""
    return f'{{"name": {json.dumps(function.name)}, "arguments": '


INSTRUCTED = "You may call one or more functions to help with the user's request."
INSTRUCTIONS = (
    f"{INSTRUCTED}\n\n"
    + """\
Functions, as JSON within <tools></tools>:
<tools>
{tools}
</tools>

For each call, answer with a JSON object within <tool_call></tool_call>:
<tool_call>
{{"name": "function name", "arguments": {{"argument": "value"}}}}
</tool_call>"""
)


def write_tools(turns: list[dict[str, Any]], tools: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The conversation in plain turns, for templates that know nothing of tools."""
    plain = [_plain(turn) for turn in turns]
    if not tools:
        return plain
    text = INSTRUCTIONS.format(tools="\n".join(map(_json, tools)))
    if plain and plain[0]["role"] == "system":
        first, *rest = plain
        return [first | {"content": f"{first['content']}\n\n{text}"}, *rest]
    return [{"role": "system", "content": text}, *plain]


def _json(value: Any) -> str:
    """As Transformers' ``tojson`` in templates."""
    return json.dumps(value, ensure_ascii=False)


def _plain(turn: dict[str, Any]) -> dict[str, Any]:
    if turn["role"] == "tool":
        content = f"<tool_response>\n{turn['content']}\n</tool_response>"
        return {"role": "user", "content": content}
    if "tool_calls" not in turn:
        return turn
    parts = [turn["content"]] if turn["content"] else []
    for call in turn["tool_calls"]:
        function = call["function"]
        body = _json({"name": function["name"], "arguments": function["arguments"]})
        parts.append(f"{BEGIN}\n{body}\n{END}")
    return {"role": "assistant", "content": "\n".join(parts)}
