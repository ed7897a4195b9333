"""How much a request asks for."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.serve.gateway.extent import ONE, count_answers, find_limit, measure

from . import hostile


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ([], 0),
        ([None, None], 0),
        ([None, 7], 7),
        ([1, 1000], 1000),
        ([1000, 1], 1000),
        ([5.0, None], 5),
        (["1000", 1], 1000),
        ([1, -1], 0),  # llama.cpp's: without end
        ([1, "many"], 0),
        ([True, None], 0),
    ],
)
def test_the_largest_limit_counts(given: list[Any], limit: int) -> None:
    assert find_limit(given) == limit


@pytest.mark.parametrize(
    ("given", "answers"),
    [
        *(([], 1), ([None, None], 1), ([3, None], 3), ([2, 5], 5), (["4", 2], 4)),
        *(([2000, None], 2000), ([0, -3], 1), ([True, "x"], 1), ([2.0, None], 2)),
    ],
)
def test_answers(given: list[Any], answers: int) -> None:
    assert count_answers(given) == answers


@pytest.mark.parametrize(
    ("prompt", "number", "ids"),
    [
        *(("one", 1, 0), ("[1", 1, 0), (None, 1, 0), ([], 1, 0), ([5, 6, 7], 1, 3)),
        *((["a", "b"], 2, 0), ([[1, 2], [3]], 2, 3), ([5, "and", 6], 1, 2)),
        *(([[5, "and"], "b"], 2, 1), ([{"prompt_string": "a"}], 1, 0), ([["a"], None], 2, 0)),
    ],
)
def test_prompts(prompt: Any, number: int, ids: int) -> None:
    assert measure(f" {json.dumps(prompt)}".encode()) == (number, ids)


def test_what_is_no_json_is_one_prompt() -> None:
    assert measure(b"[1, ") == measure(b"[" * 99_999) == measure(b"[1e999]") == ONE


@given(hostile.anything, st.lists(hostile.anything, max_size=3))
def test_nothing_is_too_strange(prompt: Any, given: list[Any]) -> None:
    assert measure(json.dumps(prompt).encode()).number >= 1
    assert find_limit(given) >= 0
    assert count_answers(given) >= 1
