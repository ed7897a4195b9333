"""Models without an engine, for tests of what asks them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from liveweights.gate.suites.suite import Message

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

    def _answer(self, prompt: str, seed: int) -> str:
        self.asked.append((prompt, seed))
        return self.answer(prompt, seed)


def always(name: str, said: str) -> ScriptedModel:
    return ScriptedModel(name, lambda prompt, seed: said)
