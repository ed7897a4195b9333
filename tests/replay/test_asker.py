from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.learn.followups import lexical
from liveweights.replay.asker import COMPLAINTS, PRAISE, Manners, Reaction, react
from liveweights.replay.tasks import FAMILIES, Family, Task

chances = st.floats(0, 1)
manners = st.builds(Manners, thumb=chances, edit=chances, follow_up=chances)
TASK = Task("sum", 0, "What is 1 + 1?", "2")


@given(manners, st.integers(0, 2**32), st.sampled_from(["2", "3", "It is 2.", "It is 3.", ""]))
def test_what_is_said_agrees_with_the_answer(habits: Manners, seed: int, answer: str) -> None:
    said = react(TASK, answer, habits, random.Random(seed))
    right = "2" in answer
    assert said.thumb in (None, 1 if right else -1)
    assert said.edit in ((None,) if right else (None, "2"))
    assert said.words is None or said.words in (PRAISE if right else COMPLAINTS)
    assert said == react(TASK, answer, habits, random.Random(seed))


@given(st.integers(0, 2**32))
def test_one_habit_does_not_reshuffle_the_others(seed: int) -> None:
    often = react(TASK, "3", Manners(thumb=0.5, edit=1, follow_up=0.5), random.Random(seed))
    never = react(TASK, "3", Manners(thumb=0.5, edit=0, follow_up=0.5), random.Random(seed))
    assert often == Reaction(never.thumb, "2", never.words)


def test_habits_are_as_frequent_as_they_say() -> None:
    draw = random.Random(0)
    said = [react(TASK, "3", Manners(), draw) for _ in range(2000)]
    assert sum(s.thumb is not None for s in said) / 2000 == pytest.approx(Manners().thumb, abs=0.05)
    assert sum(s.edit is not None for s in said) / 2000 == pytest.approx(Manners().edit, abs=0.05)
    share = sum(s.words is not None for s in said) / 2000
    assert share == pytest.approx(Manners().follow_up, abs=0.05)


def test_the_product_reads_their_words() -> None:
    assert {lexical(words) for words in PRAISE} == {"satisfied"}
    assert {lexical(words) for words in COMPLAINTS} == {"dissatisfied"}


@given(st.sampled_from(FAMILIES), st.integers(0, 2**32))
def test_a_wish_behind_their_words_does_not_turn_them_round(family: Family, seed: int) -> None:
    draw = random.Random(seed)
    wish = family.draw(draw).wish
    assert lexical(wish) == "neutral"
    assert lexical(f"{draw.choice(COMPLAINTS)} {wish}") == "dissatisfied"
    assert lexical(f"{draw.choice(PRAISE)} {wish}") != "dissatisfied"
