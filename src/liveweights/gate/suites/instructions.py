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


def _has(said: str, word: str) -> bool:
    return re.search(rf"\b{re.escape(word)}\b", said, re.IGNORECASE) is not None


def _sentences(said: str) -> int:
    return len(re.findall(r"[^.!?]+[.!?]", said))


def _numbered(said: str) -> list[str]:
    return re.findall(r"^\s*(\d+)[.)]", said, re.MULTILINE)


def _object(said: str) -> bool:
    inside = re.search(r"\{.*\}", said, re.DOTALL)
    try:
        return inside is not None and "topic" in json.loads(inside.group())
    except json.JSONDecodeError:
        return False


INSTRUCTIONS: dict[str, tuple[str, Check]] = {
    "include": (
        "Write one sentence about {topic} that contains the word {word}.",
        lambda said, topic, word: _has(said, word),
    ),
    "only": (
        "Answer only with the word {word} and nothing else.",
        lambda said, topic, word: plain(said) == word,
    ),
    "capitals": (
        "Write one short sentence about {topic}. Use capital letters only.",
        lambda said, topic, word: said.strip() != "" and said == said.upper(),
    ),
    "lower": (
        "Write one short sentence about {topic}. Use lower-case letters only.",
        lambda said, topic, word: said.strip() != "" and said == said.lower(),
    ),
    "repeat": (
        "Repeat this sentence exactly: The {word} likes {topic}.",
        lambda said, topic, word: plain(said) == plain(f"The {word} likes {topic}"),
    ),
    "three": (
        "Give exactly three facts about {topic} as a numbered list.",
        lambda said, topic, word: _numbered(said) == ["1", "2", "3"],
    ),
    "without": (
        "Write one sentence about {topic}. Do not use the word is.",
        lambda said, topic, word: said.strip() != "" and not _has(said, "is"),
    ),
    "begin": (
        "Write one sentence about {topic} that begins with the word Although.",
        lambda said, topic, word: plain(said).startswith("although "),
    ),
    "end": (
        "Write one sentence about {topic}. After it, write DONE as the last word.",
        lambda said, topic, word: plain(said).endswith(" done"),
    ),
    "short": (
        "Describe {topic} in at most eight words.",
        lambda said, topic, word: 1 <= len(said.split()) <= 8,
    ),
    "two": (
        "Describe {topic} in exactly two sentences.",
        lambda said, topic, word: _sentences(said) == 2,
    ),
    "json": (
        'Answer with a JSON object with the key "topic" and the value "{topic}".',
        lambda said, topic, word: _object(said),
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


async def follows(said: str, case: Case) -> tuple[float, str]:
    """Whether the case's instruction was followed."""
    _, check = INSTRUCTIONS[case.target["kind"]]
    return float(check(said, case.target["topic"], case.target["word"])), ""


def open_instructions() -> Questions:
    return Questions(CARD, read_cases(), follows)
