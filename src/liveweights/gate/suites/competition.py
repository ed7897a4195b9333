"""Problems as the AIME puts them: a whole number from 0 to 999 is asked for. Made by a program."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from itertools import product
from math import comb, gcd

from liveweights.gate.suites.questions import Questions
from liveweights.gate.suites.suite import Card, Case

CARD = Card(
    name="competition",
    version="1",
    title="Number theory, counting and sequences with an answer from 0 to 999, made by a program",
    licence="CC0-1.0",
    source="written for liveweights",
    seconds=300,
    margin=0.05,
    max_tokens=1024,
)
SEED = 20_261_129
EACH = 12
ASK = "{} The answer is a whole number from 0 to 999. Write it last, as \\boxed{{answer}}."
Problem = tuple[str, int]


def _residues(rng: random.Random) -> Problem:
    most, shift, modulus = rng.randint(50, 900), rng.randint(1, 20), rng.randint(3, 30)
    count = sum((n * n + shift * n) % modulus == 0 for n in range(1, most + 1))
    return (
        f"How many whole numbers n with 1 <= n <= {most} are there such that {modulus} divides"
        f" n^2 + {shift}n?",
        count,
    )


def _power(rng: random.Random) -> Problem:
    base, exponent = rng.randint(2, 40), rng.randint(20, 2026)
    return (
        f"What is the remainder when {base}^{exponent} is divided by 1000?",
        pow(base, exponent, 1000),
    )


def _paths(rng: random.Random) -> Problem:
    width, height = rng.randint(3, 6), rng.randint(3, 5)
    x, y = rng.randint(1, width - 1), rng.randint(1, height - 1)
    through = comb(x + y, x) * comb(width - x + height - y, width - x)
    return (
        f"How many paths lead from (0, 0) to ({width}, {height}) in steps of one unit to the right"
        f" or upwards that do not pass through ({x}, {y})?",
        comb(width + height, width) - through,
    )


def _digits(rng: random.Random) -> Problem:
    total, most = rng.randint(4, 20), rng.randint(500, 999)
    count = sum(sum(map(int, str(n))) == total for n in range(most + 1))
    return f"How many whole numbers from 0 to {most} have the digit sum {total}?", count


def _coprime(rng: random.Random) -> Problem:
    number = rng.randint(100, 999)
    count = sum(gcd(number, n) == 1 for n in range(1, number + 1))
    return f"How many whole numbers from 1 to {number} have no common factor with {number}?", count


def _recurrence(rng: random.Random) -> Problem:
    a, b, first, second = (rng.randint(1, 9) for _ in range(4))
    steps = rng.randint(8, 30)
    terms = [first, second]
    while len(terms) < steps:
        terms.append((a * terms[-1] + b * terms[-2]) % 1000)
    return (
        f"A sequence begins with a_1 = {first} and a_2 = {second}, and a_n = {a}a_(n-1) +"
        f" {b}a_(n-2) for n > 2. What is the remainder when a_{steps} is divided by 1000?",
        terms[-1],
    )


def _sums(rng: random.Random) -> Problem:
    total, most = rng.randint(8, 18), rng.randint(6, 12)
    count = sum(sum(one) == total for one in product(range(1, most + 1), repeat=3))
    return (
        f"How many ordered triples of whole numbers from 1 to {most} have the sum {total}?",
        count,
    )


KINDS: tuple[Callable[[random.Random], Problem], ...] = (
    *(_residues, _power, _paths, _digits, _coprime, _recurrence, _sums),
)
_BOXED = re.compile(r"\\boxed\s*\{\s*(\d{1,3})\s*\}")
_NUMBER = re.compile(r"(?<![\d.])\d{1,3}(?![\d.]*\d)")


def read_cases() -> list[Case]:
    """`EACH` of every kind, no two alike."""
    rng = random.Random(SEED)
    cases: list[Case] = []
    for kind in KINDS:
        problems: dict[str, int] = {}
        while len(problems) < EACH:
            text, answer = kind(rng)
            if 0 <= answer <= 999:
                problems[text] = answer
        cases += [
            Case(
                id=f"{kind.__name__.strip('_')}/{number}",
                messages=[{"role": "user", "content": ASK.format(text)}],
                target=answer,
            )
            for number, (text, answer) in enumerate(problems.items())
        ]
    return cases


async def score(answer: str, case: Case) -> tuple[float, str]:
    """The last boxed number, or where nothing is boxed the last number, is the answer."""
    numbers = _BOXED.findall(answer) or _NUMBER.findall(answer)
    return float(bool(numbers) and int(numbers[-1]) == case.target), ""


def open_competition() -> Questions:
    return Questions(CARD, read_cases(), score)
