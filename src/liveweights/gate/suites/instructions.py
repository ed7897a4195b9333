"""Instructions that a program can check, as in IFEval (Zhou et al. 2023, arXiv 2311.07911)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from liveweights.gate.suites.questions import Questions, plain
from liveweights.gate.suites.suite import Card, Case

CARD = Card(
    name="instructions",
    version="1",
    title="Follow an instruction that a program can check",
    licence="CC0-1.0",
    source="written for liveweights",
    seconds=90,
    margin=0.05,
    max_tokens=96,
)
TOPICS = ("dogs", "rain", "bread", "music", "the moon", "trees", "trains", "books", "tea", "winter")
WORDS = (
    "river",
    "yellow",
    "quiet",
    "window",
    "seven",
    "garden",
    "silver",
    "morning",
    "paper",
    "sea",
)

Check = Callable[[str, str, str], bool]
"""Answer, topic and word to whether the instruction was followed."""


def _has(answer: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", answer, re.IGNORECASE) is not None


def _sentences(answer: str) -> int:
    return len(re.findall(r"[^.!?]+[.!?]", answer))


def _numbered(answer: str) -> list[str]:
    return re.findall(r"^\s*(\d+)[.)]", answer, re.MULTILINE)


def _object(answer: str) -> bool:
    inside = re.search(r"\{.*\}", answer, re.DOTALL)
    try:
        return inside is not None and "topic" in json.loads(inside.group())
    except (ValueError, RecursionError):  # also of numbers and brackets without end
        return False


INSTRUCTIONS: dict[str, tuple[str, Check]] = {
    "include": (
        "Write one sentence about {topic} that contains the word {word}.",
        lambda answer, topic, word: _has(answer, word),
    ),
    "only": (
        "Answer only with the word {word} and nothing else.",
        lambda answer, topic, word: plain(answer) == word,
    ),
    "capitals": (
        "Write one short sentence about {topic}. Use capital letters only.",
        lambda answer, topic, word: answer.strip() != "" and answer == answer.upper(),
    ),
    "lower": (
        "Write one short sentence about {topic}. Use lower-case letters only.",
        lambda answer, topic, word: answer.strip() != "" and answer == answer.lower(),
    ),
    "repeat": (
        "Repeat this sentence exactly: The {word} likes {topic}.",
        lambda answer, topic, word: plain(answer) == plain(f"The {word} likes {topic}"),
    ),
    "three": (
        "Give exactly three facts about {topic} as a numbered list.",
        lambda answer, topic, word: _numbered(answer) == ["1", "2", "3"],
    ),
    "without": (
        "Write one sentence about {topic}. Do not use the word is.",
        lambda answer, topic, word: answer.strip() != "" and not _has(answer, "is"),
    ),
    "begin": (
        "Write one sentence about {topic} that begins with the word Although.",
        lambda answer, topic, word: plain(answer).startswith("although "),
    ),
    "end": (
        "Write one sentence about {topic}. After it, write DONE as the last word.",
        lambda answer, topic, word: plain(answer).endswith(" done"),
    ),
    "short": (
        "Describe {topic} in at most eight words.",
        lambda answer, topic, word: 1 <= len(answer.split()) <= 8,
    ),
    "two": (
        "Describe {topic} in exactly two sentences.",
        lambda answer, topic, word: _sentences(answer) == 2,
    ),
    "json": (
        'Answer with a JSON object with the key "topic" and the value "{topic}".',
        lambda answer, topic, word: _object(answer),
    ),
}


def read_cases() -> list[Case]:
    return [
        Case(
            id=f"{kind}/{topic}",
            messages=[{"role": "user", "content": ask.format(topic=topic, word=word)}],
            target={"kind": kind, "topic": topic, "word": word},
        )
        for kind, (ask, _) in INSTRUCTIONS.items()
        for topic, word in zip(TOPICS, WORDS, strict=True)
    ]


async def follows(answer: str, case: Case) -> tuple[float, str]:
    """Whether the case's instruction was followed."""
    _, check = INSTRUCTIONS[case.target["kind"]]
    return float(check(answer, case.target["topic"], case.target["word"])), ""


def open_instructions() -> Questions:
    return Questions(CARD, read_cases(), follows)
