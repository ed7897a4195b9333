"""Suites in which one answer is asked for and scored."""

from __future__ import annotations

import re
import string
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from liveweights.gate.suites.suite import Attempt, Card, Case, Model

Score = Callable[[str, Case], Awaitable[tuple[float, str]]]
"""Answer and case to a score in [0, 1] and a word about it."""


async def ask(card: Card, case: Case, model: Model, seed: int) -> str:
    """The model's answer, put as the case says."""
    how: dict[str, Any] = {
        "max_tokens": case.max_tokens or card.max_tokens,
        "temperature": card.temperature,
        "seed": seed,
        "stop": case.stop,
    }
    if case.messages is not None:
        return await model.chat(case.messages, **how)
    return await model.complete(case.prompt or "", **how)


async def nothing() -> None:
    """There is nothing to close."""


@dataclass(frozen=True, slots=True)
class Questions:
    """Cases with one scorer. ``scorer`` is its name, or the text of somebody's own."""

    card: Card
    all_cases: Sequence[Case]
    score: Score
    end: Callable[[], Awaitable[None]] = nothing
    scorer: bytes = b""

    def cases(self) -> Sequence[Case]:
        return self.all_cases

    def content(self) -> bytes:
        return self.scorer

    async def attempt(self, case: Case, model: Model, seed: int) -> Attempt:
        answer = await ask(self.card, case, model, seed)
        score, detail = await self.score(answer, case)
        return Attempt(score=score, answer=answer, detail=detail)

    async def close(self) -> None:
        await self.end()


def plain(text: str) -> str:
    """For comparing: lower case, single spaces, no punctuation, no leading article."""
    bare = text.lower().translate(str.maketrans("", "", string.punctuation))
    return re.sub(r"^(?:the|a|an) ", "", " ".join(bare.split()))


async def exact(answer: str, case: Case) -> tuple[float, str]:
    """The answer is the target, or one of them, but for case, punctuation and article."""
    return float(plain(answer) in map(plain, _targets(case))), ""


async def begins(answer: str, case: Case) -> tuple[float, str]:
    """The answer's first words are the target, or one of them."""
    words = f"{plain(answer)} "
    return float(any(words.startswith(f"{plain(target)} ") for target in _targets(case))), ""


async def contains(answer: str, case: Case) -> tuple[float, str]:
    """The target, or one of them, stands somewhere in the answer as whole words."""
    words = f" {plain(answer)} "
    return float(any(f" {plain(target)} " in words for target in _targets(case))), ""


async def number(answer: str, case: Case) -> tuple[float, str]:
    """The last number in the answer is the target."""
    numbers = re.findall(r"-?\d+(?:\.\d+)?", answer.replace(",", ""))
    return float(bool(numbers) and float(numbers[-1]) == float(case.target)), ""


SCORERS: dict[str, Score] = {
    "exact": exact,
    "begins": begins,
    "contains": contains,
    "number": number,
}


def _targets(case: Case) -> list[str]:
    target = case.target
    return [str(one) for one in target] if isinstance(target, list) else [str(target)]
