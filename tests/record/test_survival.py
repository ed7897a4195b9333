"""The share of an answer that is left: difflib's where that is quick, and never slow."""

from __future__ import annotations

import difflib
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.record.survival import LONGEST, survival

ALPHABET = "ab \n_x"
texts = st.text(ALPHABET, max_size=60)
SOURCE = difflib.SequenceMatcher.__doc__ or ""


def by_difflib(output: str, surviving: str) -> float:
    matcher = difflib.SequenceMatcher(None, output, surviving, autojunk=False)
    return sum(block.size for block in matcher.get_matching_blocks()) / len(output)


@given(texts.filter(bool), texts)
def test_short_texts_are_compared_as_difflib_does(output: str, surviving: str) -> None:
    expected = 1.0 if output in surviving else by_difflib(output, surviving)
    assert survival(output, surviving) == expected


@given(texts, st.integers(1, 80), texts, st.integers(1, 80))
def test_a_share_it_is(output: str, times: int, surviving: str, others: int) -> None:
    assert 0.0 <= survival(output * times, surviving * others) <= 1.0


def test_ends() -> None:
    assert survival("", "anything") == 0.0
    assert survival("answer", "") == 0.0
    assert survival("answer", "the whole answer is still there") == 1.0
    assert survival("x = 1", "x = 2") == 0.8


@pytest.mark.parametrize("edits", [1, 5, 30])
def test_long_answers_with_some_edits_come_close(edits: int) -> None:
    """By lines, words and characters, where characters alone would take seconds."""
    rng = random.Random(edits)
    answer = "".join(f"line {n}: {rng.choice(SOURCE.split())} {n * n}\n" for n in range(400))
    text = list(answer)
    gone = 0
    for place in sorted(rng.sample(range(len(answer) // 50), edits), reverse=True):
        del text[50 * place : 50 * place + 10]
        gone += 10
        text[50 * place : 50 * place] = "new"
    assert survival(answer, "".join(text)) == pytest.approx(1 - gone / len(answer), abs=0.02)


def noise(alphabet: str, size: int, between: str = "") -> str:
    rng = random.Random(size)
    return between.join(rng.choice(alphabet) for _ in range(size))


@pytest.mark.parametrize(
    ("output", "surviving"),
    [
        (noise("ab", 1600), noise("ab", 900_000)),
        ("xy" * 800, "x" * 900_000),
        ("x" * 100_000 + "y", "x" * 900_000),
        (noise("abcd", 60_000), noise("abcd", 240_001)),
        (noise("abcd", 30_000, "\n"), noise("abcd", 120_001, "\n")),
        (noise("abcd", 30_000, " "), noise("abcd", 120_001, " ")),
        (noise("ab", 2**21), noise("ab", 2**22)),
    ],
)
def test_no_texts_take_long(output: str, surviving: str) -> None:
    """Some of these took minutes, growing with the product of the lengths."""
    began = time.process_time()
    assert 0.0 <= survival(output, surviving) <= 1.0
    assert time.process_time() - began < 10


def test_of_a_huge_answer_the_beginning_counts() -> None:
    assert survival("a" * LONGEST + "b" * 100, "a" * LONGEST + "c") == 1.0
