"""What is known of a request that passes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from liveweights.serve.gateway.question import read_question


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"temperature": 1.0, "top_p": 1, "top_k": -1, "min_p": 0.0, "frequency_penalty": 0},
        {"temperature": None, "logit_bias": {}, "response_format": {"type": "text"}},
        {"tool_choice": "auto", "repetition_penalty": 1.0, "stop": ["a"], "seed": 7},
    ],
)
def test_the_models_own_distribution_is_drawn_from(asked: dict[str, Any]) -> None:
    question = read_question(json.dumps(asked).encode())
    assert question is not None
    assert question.plain


@pytest.mark.parametrize(
    "asked",
    [
        *({name: 0.5} for name in ("temperature", "top_p", "min_p", "typical_p")),
        *({f"{name}_penalty": 0.5} for name in ("frequency", "presence", "repetition")),
        {"top_k": 40},
        {"repeat_penalty": 1.1},
        {"logit_bias": {"5": -100}},
        {"response_format": {"type": "json_object"}},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"guided_choice": ["a", "b"]},
        {"structured_outputs": {"regex": "a+"}},
        {"grammar": "root ::= [a-z]"},
    ],
)
def test_another_distribution_is_drawn_from(asked: dict[str, Any]) -> None:
    question = read_question(json.dumps(asked).encode())
    assert question is not None
    assert not question.plain
