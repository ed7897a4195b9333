from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
        # A letter of a choice is no article.
        ("begins", "A. Paris is the capital", "A", 1),
        ("begins", "A) Paris", "A", 1),
        ("begins", "**A** Paris", "A", 1),
        ("begins", "A\nParis", "A", 1),
        ("begins", "B. Paris", "A", 0),
        ("begins", "a cat", "A", 0),
        ("contains", "A: Paris", "A", 1),
        ("exact", "A.", "a", 1),
        ("exact", "the end", "an end", 1),
        # Signs that make it another number or name.
        ("exact", "5", "-5", 0),
        ("exact", "-5", "-5", 1),
        ("exact", "\u22125.", "-5", 1),
        ("exact", "C", "C++", 0),
        ("exact", "C#", "C", 0),
        ("contains", "It is C++.", "C++", 1),
        ("contains", "It is `C++`", "C", 0),
        ("exact", "31.4", "3.14", 0),
        ("exact", "3.14.", "3.14", 1),
        ("exact", "12", "1/2", 0),
        ("exact", "1,000", "1000", 1),
        ("exact", ".5", "5", 0),
        ("exact", "-.5", "-5", 0),
        ("exact", "- 5", "5", 1),
        ("exact", 'Well-known: "it\'s"!', "wellknown its", 1),
        # A target of signs only.
        ("contains", "", "+", 0),
        ("contains", "It is '+'.", "+", 1),
        ("contains", "It is -.", "+", 0),
        ("exact", "+.", "+", 1),
        ("exact", "", "+", 0),
        ("begins", "<= and so on", "<=", 1),
        ("begins", "!", "?", 0),
        ("number", "3 + 4 = 7.", 7, 1),
        ("number", "from 3-5", 5, 1),
        ("number", "It is -5", -5, 1),
        ("number", "It is _-5_", -5, 1),
        ("number", "It is \u22125", -5, 1),
        ("number", "1,000", 1000, 1),
        ("number", "seven", 7, 0),
    ],
)
def test_scorers(scorer: str, said: str, target: Any, expected: float) -> None:
    assert scored(scorer, said, target) == expected


@given(st.text(), st.sampled_from(["exact", "begins", "contains"]))
def test_what_is_said_as_it_is_written_fits(text: str, scorer: str) -> None:
    assert scored(scorer, text, text) == 1


@given(st.text(max_size=20))
def test_nothing_said_is_no_answer(target: str) -> None:
    if re.sub("[\\s`\"']", "", target):
        assert {scored(scorer, "", target) for scorer in ("exact", "begins", "contains")} == {0}


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


@pytest.mark.parametrize("value", ["[" * 9000 + "]" * 9000, "1" * 9000])
def test_what_a_model_in_a_loop_writes_is_no_object(value: str) -> None:
    assert not instructions.INSTRUCTIONS["json"][1](f'{{"topic": {value}}}', "tea", "river")
