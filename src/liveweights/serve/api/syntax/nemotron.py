"""Nemotron's syntax (Nano 2, Super 1.5): a JSON list of calls between tags.

https://huggingface.co/nvidia/NVIDIA-Nemotron-Nano-9B-v2, chat template.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence

from liveweights.serve.api.syntax.protocol import (
    Call,
    Function,
    arguments_rules,
    quoted,
    read_calls,
)
from liveweights.serve.api.syntax.sectioned import Sectioned, one_or_more

BEGIN, END = "<TOOLCALL>", "</TOOLCALL>"


class Nemotron(Sectioned):
    begin, end = BEGIN, END

    def parse(self, body: str, names: Collection[str]) -> list[Call] | None:
        return read_calls(body, names)

    def calls(self, functions: Sequence[Function], *, parallel: bool) -> list[str]:
        several = one_or_more("one", '", "', parallel=parallel)
        rules = [f'calls: {self.mark(BEGIN)} "[" {several} "]" {self.mark(END)}']
        rules.append("one: " + " | ".join(f"fn_{i}" for i in range(len(functions))))
        for i, function in enumerate(functions):
            head = quoted(f'{{"name": {json.dumps(function.name)}, "arguments": ')
            rules.append(f'fn_{i}: {head} args_{i} "}}"')
            rules += arguments_rules(i, function)
        return rules
