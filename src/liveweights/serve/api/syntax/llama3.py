"""Llama 3's syntax: an answer that is a JSON object with ``name`` and ``parameters``.

https://www.llama.com/docs/model-cards-and-prompt-formats/llama3_1/#json-based-tool-calling
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

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

TRIGGER = "<|python_tag|>"
TEXT = rf"/\s*([^{{\s](.|\n)*)?/ & {NO_BARE_CALL}"  # begins as no call does


class Llama3:
    """``trigger`` is the id of the token that may come before a call."""

    quotes = True

    def __init__(self, trigger: int | None) -> None:
        self._trigger = trigger

    def reader(self, schemas: Schemas, /) -> WholeReader:
        openings = ("{", *ALONE)
        marks = {} if self._trigger is None else {self._trigger: TRIGGER}
        return WholeReader(self._trigger, openings, lambda text: _parse(text, schemas), marks)

    def grammar(
        self, functions: Sequence[Function], *, text: str | None, required: bool, parallel: bool
    ) -> str:
        rules = ["calls: call" + (' ("; " call)*' if parallel else "")]
        rules.append("call: " + " | ".join(f"fn_{i}" for i in range(len(functions))))
        for i, function in enumerate(functions):
            head = f'{{"name": {json.dumps(function.name)}, "parameters": '
            rules.append(f'fn_{i}: {quoted(head)} args_{i} "}}"')
            rules += arguments_rules(i, function)
        other = "" if required else f"\nanswer: {text or 'TEXT'}\nTEXT: {TEXT}"
        return "\n".join([f"start: calls{'' if required else ' | answer'}{other}", *rules])


def _parse(text: str, names: Collection[str]) -> list[Call] | None:
    return read_calls(unfence(text.strip().removeprefix(TRIGGER)), names, TRIGGER)
