from __future__ import annotations

import asyncio
import re

import pytest

from liveweights.gate.suites.competition import EACH, KINDS, open_competition, read_cases, score
from liveweights.gate.suites.suite import Case


def test_problems_are_the_same_each_time_and_answers_are_small_numbers() -> None:
    cases = read_cases()
    assert cases == read_cases()
    assert len(cases) == len({case.id for case in cases}) == EACH * len(KINDS)
    assert all(0 <= case.target <= 999 for case in cases)
    assert len({case.messages[0]["content"] for case in cases if case.messages}) == len(cases)


def test_powers_are_what_they_say() -> None:
    powers = [case for case in open_competition().cases() if case.id.startswith("power/")]
    for case in powers:
        text = (case.messages or [{}])[0]["content"]
        base, exponent = map(int, re.findall(r"(\d+)\^(\d+)", text)[0])
        assert base**exponent % 1000 == case.target


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        (r"so \boxed{42}.", True),
        (r"\boxed{ 042 }", True),
        (r"first \boxed{7}, then \boxed{42}", True),
        ("The answer is 42", True),
        ("The answer is 42.", True),
        ("I count 42, no, 43", False),
        (r"\boxed{43} is not 42", False),
        ("1042", False),
        ("0.42", False),
        ("", False),
    ],
)
def test_the_last_boxed_number_counts(answer: str, right: bool) -> None:
    assert asyncio.run(score(answer, Case(id="x", target=42)))[0] == float(right)
