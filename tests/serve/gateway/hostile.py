"""Requests and answers of those who mean harm, or have a bug."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

BIG = 10**30
numbers = st.sampled_from(
    [
        *(0, 1, -1, 7, 0.5, -1.5, 2**31 - 1, 2**31, -(2**31) - 1, 2**63, -(2**63) - 1, BIG, -BIG),
        *(2e19, 1e12, 1e39, -1e300, 3.5e38, 1e-300, 10**400, True),
    ]
)
texts = st.sampled_from(
    [
        *("", "x", "stop", "\0", "a\0b", "\U0001f600", "'; drop table generations; --", "é" * 600),
        *("n" * 6000, "../..", "token_id:5", "token_id:" + "9" * 5000, "token_id:" + "9" * 12, "٣"),
    ]
)
anything = st.recursive(
    st.none() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def members(**types: Any) -> st.SearchStrategy[dict[str, Any]]:
    """Objects whose members are there or not, and of their type or not."""
    mixed = {name: type | type | anything for name, type in types.items()}
    return st.fixed_dictionaries({}, optional=mixed)


_floats = st.lists(numbers, max_size=3)
_ids = st.lists(numbers, max_size=3)
_entry = members(token=texts, logprob=numbers, id=numbers)
_logprobs = members(
    content=st.lists(_entry, max_size=3), tokens=st.lists(texts, max_size=3), token_logprobs=_floats
)
_call = members(index=numbers, function=members(name=texts, arguments=texts))
_message = members(content=texts, tool_calls=st.lists(_call, max_size=2))
_choice = members(
    index=st.integers(0, 3),
    text=texts,
    delta=_message,
    message=_message,
    finish_reason=texts,
    logprobs=_logprobs,
    token_ids=_ids,
    prompt_token_ids=_ids,
)
_part = members(type=st.just("output_text"), text=texts)
_item = members(
    id=texts, type=st.sampled_from(["message", "function_call"]), content=st.lists(_part),
    name=texts, arguments=texts,
)  # fmt: skip
_response = members(
    id=texts, model=texts, status=st.sampled_from(["completed", "incomplete", "failed"]),
    output=st.lists(_item, max_size=2), usage=st.dictionaries(texts, numbers, max_size=3),
)  # fmt: skip
_usage = st.dictionaries(
    st.sampled_from(["prompt_tokens", "completion_tokens", "input_tokens", "x" * 100]), numbers
)
answers = members(
    id=texts,
    model=texts,
    choices=st.lists(_choice, max_size=3),
    usage=_usage,
    prompt_token_ids=_ids,
    type=st.sampled_from(["response.output_text.delta", "response.completed"]),
    delta=texts,
    response=_response,
    status=texts,
    output=st.lists(_item, max_size=2),
)
questions = members(
    model=texts,
    temperature=numbers,
    top_p=numbers,
    top_k=numbers,
    seed=numbers,
    max_tokens=numbers,
    max_completion_tokens=numbers,
    prompt=_ids | texts,
    user=texts,
    metadata=st.dictionaries(texts, texts, max_size=3),
    messages=anything,
)


def encode(value: Any) -> bytes:
    return json.dumps(value).encode()


def plain(**changes: Any) -> dict[str, Any]:
    """A good answer with one thing wrong."""
    choice = {"index": 0, "message": {"content": "yes"}, "finish_reason": "stop"}
    choice |= changes.pop("choice", {})
    usage = {"prompt_tokens": 7, "completion_tokens": 6} | changes.pop("usage", {})
    return {"id": "c", "model": "big-1", "choices": [choice], "usage": usage} | changes
