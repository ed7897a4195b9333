"""What a request needs of a model that it does not name."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.serve.api.needs import read_body_needs, read_needs
from liveweights.terms.needs import NOTHING

HI = [{"role": "user", "content": "hi"}]
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10_000}}
FUNCTION = {"type": "function", "function": {"name": "f"}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "a", "schema": {}}}


@pytest.mark.parametrize(
    ("members", "abilities"),
    [
        ({"messages": HI}, {"chat"}),
        ({"messages": HI, "tools": []}, {"chat"}),
        ({"messages": HI, "tools": [FUNCTION]}, {"chat", "tools"}),
        ({"messages": HI, "tools": [FUNCTION], "tool_choice": "none"}, {"chat"}),
        ({"messages": HI, "response_format": {"type": "text"}}, {"chat"}),
        ({"messages": HI, "response_format": {"type": "json_object"}}, {"chat", "json"}),
        ({"messages": HI, "response_format": SCHEMA}, {"chat", "json"}),
        ({"messages": [{"role": "user", "content": [PICTURE]}]}, {"chat", "vision"}),
        ({"input": "hi"}, {"chat"}),
        ({"input": "hi", "text": {"format": {"type": "json_schema"}}}, {"chat", "json"}),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "u"}]}]},
            {"chat", "vision"},
        ),
        ({"prompt": "a"}, {"completion"}),
        ({"prompt": "a", "suffix": ""}, {"completion"}),
        ({"prompt": "a", "suffix": "b"}, {"infill"}),
        ({"input_prefix": "a"}, {"completion"}),
        ({"input_prefix": "a", "input_suffix": "b"}, {"infill"}),
        ({"input_prefix": "a", "input_extra": [{"text": "b"}]}, {"infill"}),
        ({"messages": [{"type": []}, {"type": {}}]}, {"chat"}),
        ({"prompt": None, "suffix": None, "messages": None, "tools": None}, set()),
    ],
)
def test_what_it_contains_says_what_it_needs(members: dict[str, Any], abilities: set[str]) -> None:
    needs = read_needs({"model": "auto", **members})
    assert needs.abilities == abilities
    assert read_body_needs(json.dumps({"model": "auto", **members}).encode()) == needs


@pytest.mark.parametrize(
    ("members", "tokens"),
    [
        ({"prompt": "a" * 400}, 100),
        ({"prompt": "a" * 400, "max_tokens": 50}, 150),
        ({"prompt": ["a" * 400, "b" * 80], "max_tokens": 50}, 150),  # each has the context
        ({"prompt": [1, 2, 3, 4]}, 4),
        ({"prompt": [[1, 2, 3], [4]]}, 3),
        ({"prompt": "a" * 400, "suffix": "b" * 40}, 110),
        ({"prompt": "日" * 400}, 300),
        ({"messages": [{"content": "a" * 400}], "max_completion_tokens": 8, "max_tokens": 9}, 108),
        ({"messages": [{"content": [PICTURE, {"text": "a" * 400}]}]}, 102),
        ({"input": "a" * 400, "instructions": "b" * 40, "max_output_tokens": 5}, 115),
        ({"input_prefix": "a" * 400, "n_predict": -1}, 100),
    ],
)
def test_the_context_is_an_estimate_of_prompt_and_answer(
    members: dict[str, Any], tokens: int
) -> None:
    assert read_needs(members).context == tokens


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.just("type"), inner, max_size=3)
    ),
)
NAMES = ("messages", "input", "prompt", "suffix", "tools", "text", "response_format", "max_tokens")


@given(members=st.dictionaries(st.sampled_from(NAMES), JSON))
def test_whatever_a_member_is_something_is_made_of_it(members: dict[str, Any]) -> None:
    assert read_needs(members).context >= 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'"a"', b"\xff", b"[" * 100_000])
def test_what_is_no_object_needs_nothing(body: bytes) -> None:
    assert read_body_needs(body) == NOTHING
