from __future__ import annotations

import asyncio
from typing import Any

import pytest

from liveweights.gate.suites import instructions, knowledge
from liveweights.gate.suites.questions import SCORERS
from liveweights.gate.suites.suite import Case


def scored(scorer: str, said: str, target: Any) -> float:
    return asyncio.run(SCORERS[scorer](said, Case(id="a", prompt="p", target=target)))[0]


@pytest.mark.parametrize(
    ("scorer", "said", "target", "expected"),
    [
        ("exact", " The Paris! ", "Paris", 1),
        ("exact", "Paris, France", "Paris", 0),
        ("begins", " Paris, which is", "Paris", 1),
        ("begins", "Parisian", "Paris", 0),
        ("begins", " a kitten", ["cat", "kitten"], 1),
        ("contains", "It is Paris.", "Paris", 1),
        ("contains", "comparison", "Paris", 0),
        ("number", "3 + 4 = 7.", 7, 1),
        ("number", "1,000", 1000, 1),
        ("number", "seven", 7, 0),
    ],
)
def test_scorers(scorer: str, said: str, target: Any, expected: float) -> None:
    assert scored(scorer, said, target) == expected


def test_knowledge_accepts_its_own_facts_and_no_others() -> None:
    suite = knowledge.open_knowledge()
    cases = suite.cases()
    assert len(cases) >= 130
    assert len({case.id for case in cases}) == len(cases)
    for case in cases:
        assert all(asyncio.run(suite.score(f" {t}, and", case))[0] == 1 for t in case.target), case
        assert asyncio.run(suite.score(" something else", case))[0] == 0


GOOD = {
    "include": "The {word} is near {topic}.",
    "only": "{word}.",
    "capitals": "I LIKE THEM.",
    "lower": "they are nice.",
    "repeat": "The {word} likes {topic}.",
    "three": "1. a\n2. b\n3. c",
    "without": "People like {topic}.",
    "begin": "Although small, it counts.",
    "end": "I like {topic}. DONE",
    "short": "Something that people like.",
    "two": "One is here. Two is there.",
    "json": 'Sure: {{"topic": "{topic}"}}',
}
BAD = {
    "include": "Nothing of the kind.",
    "only": "The word is {word}.",
    "capitals": "I like them.",
    "lower": "They are nice.",
    "repeat": "The likes {topic}.",
    "three": "1. a\n2. b",
    "without": "This is {topic}.",
    "begin": "It counts although small.",
    "end": "I like {topic}.",
    "short": "This answer has far more than the eight words allowed.",
    "two": "One. Two. Three.",
    "json": '{{"theme": "{topic}"}}',
}


def test_every_instruction_can_be_followed_and_broken() -> None:
    suite = instructions.open_instructions()
    assert set(GOOD) == set(BAD) == set(instructions.INSTRUCTIONS)
    assert len(suite.cases()) == 120
    for case in suite.cases():
        for answers, expected in ((GOOD, 1), (BAD, 0), (dict.fromkeys(BAD, ""), 0)):
            said = answers[case.target["kind"]].format(**case.target)
            assert asyncio.run(suite.score(said, case))[0] == expected, (case.id, said)
