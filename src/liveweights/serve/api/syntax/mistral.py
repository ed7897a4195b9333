"""Mistral's syntax: ``[TOOL_CALLS]``, then a JSON list of calls.

Since tokenizer version 11 it is ``[TOOL_CALLS]name[ARGS]{...}`` for each call, of some models with
``[CALL_ID]`` and an id after the name; all are read.
https://docs.mistral.ai/cookbooks/concept-deep-dive-tokenization-tool_calling
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence

from liveweights.serve.api.syntax.arguments import JSON, write_arguments
from liveweights.serve.api.syntax.protocol import (
    ALONE,
    NO_BARE_CALL,
    Call,
    Function,
    Schemas,
    arguments_rules,
    quoted,
    read_calls,
    unfence,
)
from liveweights.serve.api.syntax.whole import WholeReader

TRIGGER = "[TOOL_CALLS]"
MARKS = ("[CALL_ID]", "[ARGS]")
TEXT = rf"/\s*([^\[\s](.|\n)*)?/ & {NO_BARE_CALL}"  # begins as no call does
# Possessive: what does not match takes no longer than what does.
_NAMED = re.compile(
    r"(?:\s|\[TOOL_CALLS\])*+([\w.:/@-]++)\s*+"
    r"(?:\[CALL_ID\]\s*+[\w-]*+\s*+)?+(?:\[ARGS\])?+\s*+(?=\{)"
)


class Mistral:
    """``vocabulary`` has the ids of the marks that are tokens of their own; others are ordinary
    text."""

    quotes = True

    def __init__(self, vocabulary: Mapping[str, int]) -> None:
        self._trigger = vocabulary.get(TRIGGER)
        self._marks = {vocabulary[mark]: mark for mark in (TRIGGER, *MARKS) if mark in vocabulary}

    def reader(self, schemas: Schemas, /) -> WholeReader:
        openings = (TRIGGER, "[{", *ALONE)
        return WholeReader(self._trigger, openings, lambda text: _parse(text, schemas), self._marks)

    def grammar(
        self, functions: Sequence[Function], *, text: str | None, required: bool, parallel: bool
    ) -> str:
        begin = quoted(TRIGGER) if self._trigger is None else f"<[{self._trigger}]>"
        more = ' (", " call)*' if parallel else ""
        rules = [f'calls: {begin} "[" call{more} "]"']
        rules.append("call: " + " | ".join(f"fn_{i}" for i in range(len(functions))))
        for i, function in enumerate(functions):
            head = f'{{"name": {json.dumps(function.name)}, "arguments": '
            rules.append(f'fn_{i}: {quoted(head)} args_{i} "}}"')
            rules += arguments_rules(i, function)
        other = "" if required else f"\nanswer: {text or 'TEXT'}\nTEXT: {TEXT}"
        return "\n".join([f"start: calls{'' if required else ' | answer'}{other}", *rules])


def _parse(text: str, names: Collection[str]) -> list[Call] | None:
    text = unfence(text.strip().removeprefix(TRIGGER))
    if text.lstrip().startswith(("[", "{")):
        return read_calls(text, names, TRIGGER)
    calls: list[Call] = []
    at = 0
    while match := _NAMED.match(text, at):
        try:
            arguments, at = JSON.raw_decode(text, match.end())
        except (ValueError, RecursionError):
            return None
        if match[1] not in names:
            return None
        calls.append(Call(match[1], write_arguments(arguments)))
    return calls if calls and not text[at:].strip() else None
