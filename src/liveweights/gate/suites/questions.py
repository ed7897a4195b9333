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


_ARTICLE = re.compile(r"^[^\w]*(?:the|a|an)[ \t]+(?=[^\W_])")
"""A leading one. What comes before a dot, a bracket or a line's end is a letter, as of a choice."""
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_MEANING = re.compile(
    r"(?<=\d)[^\w\s](?=\d)"  # 3.14, 1/2, 10:30
    r"|(?<![\w.])(?:-(?=\.?\d)|\.(?=\d))|(?<=(?<!\w)-)\.(?=\d)"  # -5, .5, -.5
    r"|(?<=\w)(?:\+\+?|#)(?!\w)"  # C++, C#, A+
)
_MARKS = str.maketrans("", "", string.punctuation)


def plain(text: str) -> str:
    """For comparing: lower case, single spaces, no leading article, and no punctuation but what
    makes it another number or name."""
    text = _ARTICLE.sub("", text.lower().replace("\u2212", "-"))
    text = _THOUSANDS.sub("", text)
    bare, end = "", 0
    for kept in _MEANING.finditer(text):
        bare += text[end : kept.start()].translate(_MARKS) + kept.group()
        end = kept.end()
    return " ".join((bare + text[end:].translate(_MARKS)).split())


async def exact(answer: str, case: Case) -> tuple[float, str]:
    """The answer is the target, or one of them, but for case, punctuation and article."""
    return _any(case, answer, lambda words, target: words == target)


async def begins(answer: str, case: Case) -> tuple[float, str]:
    """The answer's first words are the target, or one of them."""
    return _any(case, answer, lambda words, target: f"{words} ".startswith(f"{target} "))


async def contains(answer: str, case: Case) -> tuple[float, str]:
    """The target, or one of them, stands somewhere in the answer as whole words."""
    return _any(case, answer, lambda words, target: f" {target} " in f" {words} ")


async def number(answer: str, case: Case) -> tuple[float, str]:
    """The last number in the answer is the target."""
    said = answer.replace(",", "").replace("\u2212", "-")
    numbers = re.findall(r"(?<![^\W_])-?\d+(?:\.\d+)?|\d+(?:\.\d+)?", said)
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


def _any(case: Case, answer: str, fits: Callable[[str, str], bool]) -> tuple[float, str]:
    """Whether the answer fits one of the targets; one that is of signs only, as it is written."""
    words, signs = plain(answer), _signs(answer)
    for target in _targets(case):
        bare = plain(target)
        if fits(words, bare) if bare else fits(signs, _signs(target)):
            return 1.0, ""
    return 0.0, ""


def _signs(text: str) -> str:
    """Single spaces, no quotation marks, no punctuation after what it ends."""
    bare = re.sub("[`\"']", "", text)
    return " ".join(re.sub(r"(?<=\S)[.,;:!?]+(?!\S)", "", bare).split())
