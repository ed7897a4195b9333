"""Models without an engine, for tests of what asks them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from liveweights.gate.suites.suite import Message, Reply, ToolCall

CALL = re.compile(r"^call (\S+) (.*)$", re.MULTILINE)
Answer = Callable[[str, int], str]
"""The last message or the prompt, and the seed, to the answer."""


@dataclass
class ScriptedModel:
    name: str
    answer: Answer
    asked: list[tuple[str, int]] = field(default_factory=list)

    async def complete(
        self,
        prompt: str | list[int],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        stop: Sequence[str] = (),
    ) -> str:
        return self._answer(str(prompt), seed)

    async def chat(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        stop: Sequence[str] = (),
    ) -> str:
        return self._answer(messages[-1]["content"], seed)

    async def use_tools(
        self,
        messages: Sequence[dict[str, Any]],
        tools: Sequence[dict[str, Any]],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
    ) -> Reply:
        """An answer that begins with ``call NAME`` and goes on with JSON calls that tool."""
        said = self._answer(messages[-1]["content"], seed)
        calls = [
            ToolCall(id=f"c{number}", name=name, arguments=arguments)
            for number, (name, arguments) in enumerate(CALL.findall(said))
        ]
        return Reply(text="" if calls else said, calls=tuple(calls))

    def _answer(self, prompt: str, seed: int) -> str:
        self.asked.append((prompt, seed))
        return self.answer(prompt, seed)


def always(name: str, said: str) -> ScriptedModel:
    return ScriptedModel(name, lambda prompt, seed: said)
