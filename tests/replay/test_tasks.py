from __future__ import annotations

import random
import re
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.replay.tasks import (
    FAMILIES,
    Family,
    Task,
    choose_tasks,
    draw_tasks,
    is_right,
    split_families,
)

families = st.sampled_from(FAMILIES)
seeds = st.integers(0, 2**32)
BY_NAME = {family.name: family for family in FAMILIES}


def drawn(family: Family, seed: int) -> Task:
    return family.draw(random.Random(seed))


@given(families, seeds)
def test_a_task_is_fixed_by_its_seed_and_says_what_it_wants(family: Family, seed: int) -> None:
    task = drawn(family, seed)
    assert task == drawn(family, seed)
    assert "{" not in task.wish
    assert task.answer == task.answer.strip()
    assert task.answer


AROUND = (
    "{}",
    "{}.",
    ' "{}"',
    "**{}**\n",
    "\n\nIt is {}",
    "The answer is {}.\n\nBut 7, Rome",
)


@given(families, seeds, st.sampled_from(AROUND))
def test_what_is_around_an_answer_does_not_count(family: Family, seed: int, around: str) -> None:
    task = drawn(family, seed)
    assert is_right(around.format(task.answer), task)


@given(families, seeds, seeds)
def test_another_answer_is_wrong(family: Family, seed: int, other: int) -> None:
    task, wrong = drawn(family, seed), drawn(family, other)
    assert is_right(wrong.answer, task) == (wrong.answer == task.answer)
    assert not is_right("", task)
    assert not is_right(f"\nI do not know.\n{task.answer}", task)


@given(families, seeds)
def test_a_part_of_something_longer_is_wrong(family: Family, seed: int) -> None:
    task = drawn(family, seed)
    assert not is_right(f"1{task.answer}", task)
    assert not is_right(f"{task.answer}5", task)


@given(seeds)
def test_saying_both_is_wrong(seed: int) -> None:
    task = drawn(BY_NAME["city"], seed)
    assert not is_right(f"{task.answer}, not {task.decoys[0]}", task)
    price = drawn(BY_NAME["price"], seed)
    assert not is_right(f"{price.answer} euros, and it was {int(price.answer) + 1}", price)


@given(st.sampled_from([f for f in FAMILIES if f.topic == "extraction"]), seeds)
def test_what_is_to_be_found_is_there(family: Family, seed: int) -> None:
    task = drawn(family, seed)
    assert task.answer in task.wish
    assert all(decoy in task.wish for decoy in task.decoys)


@given(seeds)
def test_sums_are_right(seed: int) -> None:
    work = {
        "sum": lambda a, b: a + b,
        "difference": lambda a, b: max(a, b) - min(a, b),
        "product": lambda a, b: a * b,
    }
    for name, compute in work.items():
        task = drawn(BY_NAME[name], seed)
        a, b = map(int, re.findall(r"\d+", task.wish))
        assert int(task.answer) == compute(a, b)
        assert int(task.answer) > 0
    task = drawn(BY_NAME["half"], seed)
    assert str(2 * int(task.answer)) in task.wish


@given(seeds)
def test_formats_keep_what_they_format(seed: int) -> None:
    task = drawn(BY_NAME["upper"], seed)
    assert task.answer.isupper()
    assert task.answer.lower() in task.wish
    surname, first = drawn(BY_NAME["surname-first"], seed).answer.split(", ")
    assert f"{first} {surname}" in drawn(BY_NAME["surname-first"], seed).wish
    task = drawn(BY_NAME["iso-date"], seed)
    year, month, day = map(int, task.answer.split("-"))
    assert f"{day} " in task.wish
    assert f" {year}" in task.wish
    assert 1 <= month <= 12


def test_numbers_in_words_are_their_own() -> None:
    words = {task.answer: task.wish for task in choose_tasks([BY_NAME["digits"]], 150, "all")}
    assert len(words) > 80
    assert "Write forty-two in digits." in {drawn(BY_NAME["digits"], n).wish for n in range(3000)}
    assert all(re.search(r"[a-z]", wish) for wish in words.values())


@given(st.lists(families, unique=True), seeds)
def test_half_of_each_topic_is_held_out(some: list[Family], seed: int) -> None:
    asked, held_out = split_families(some, seed)
    assert sorted(f.name for f in (*asked, *held_out)) == sorted(f.name for f in some)
    for topic in {family.topic for family in some}:
        ours = sum(family.topic == topic for family in asked)
        theirs = sum(family.topic == topic for family in held_out)
        assert ours - theirs in (0, 1)


def test_families_have_their_own_names_and_several_phrasings() -> None:
    assert len(BY_NAME) == len(FAMILIES)
    for family in FAMILIES:
        assert len(set(family.phrasings)) == len(family.phrasings) >= 3


@given(st.text(max_size=8))
def test_every_family_takes_its_turn(seed: str) -> None:
    tasks = list(islice(draw_tasks(FAMILIES, seed), 3 * len(FAMILIES)))
    assert tasks == list(islice(draw_tasks(FAMILIES, seed), 3 * len(FAMILIES)))
    for start in range(0, len(tasks), len(FAMILIES)):
        assert {t.family for t in tasks[start : start + len(FAMILIES)]} == set(BY_NAME)


@given(st.integers(1, 12), st.text(max_size=8))
def test_chosen_tasks_differ_and_are_not_asked_for(each: int, seed: str) -> None:
    tasks = choose_tasks(FAMILIES, each, seed)
    chosen = frozenset(task.wish for task in tasks)
    assert len(chosen) == each * len(FAMILIES)
    assert [task.family for task in tasks[::each]] == [family.name for family in FAMILIES]
    assert not chosen & {task.wish for task in islice(draw_tasks(FAMILIES, seed, chosen), 60)}


def test_a_family_that_has_not_enough_says_so() -> None:
    lonely = Family("one", "formatting", ("Say {a}.",), lambda _: ({"a": 1}, "1", ()))
    with pytest.raises(ValueError, match="no 2 different"):
        choose_tasks([lonely], 2, "")
