"""Members that nobody knows are left out and named; everything else is as strict as ever."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.effort import python_calls

from liveweights.http.errors import ApiError
from liveweights.http.wire import decode
from liveweights.serve.api.chat import ChatRequest
from liveweights.serve.api.completions import CompletionRequest
from liveweights.serve.api.responses.request import ResponsesRequest
from liveweights.serve.api.unknown import MOST_NAMED, decode_known, header_of

from .doubles import make_api

HELLO = {"role": "user", "content": "Hello"}
CHAT: dict[str, Any] = {"model": "m", "messages": [HELLO], "temperature": 0.5}


def known(body: Any, type: Any = ChatRequest) -> tuple[Any, tuple[str, ...]]:
    return decode_known(json.dumps(body).encode(), type)


def test_what_is_known_is_read_as_it_is() -> None:
    request, left_out = known(CHAT)
    assert left_out == ()
    assert request == decode(json.dumps(CHAT).encode(), ChatRequest)


def test_each_place_is_named_once() -> None:
    said = {"role": "assistant", "content": "Hi", "reasoning_details": [1], "index": 0}
    request, left_out = known(
        CHAT | {"messages": [HELLO, said, said, HELLO], "thinking": {"type": "enabled"}}
    )
    assert left_out == ("messages[].reasoning_details", "messages[].index", "thinking")
    roles = [message.role for message in request.messages]
    assert roles == ["user", "assistant", "assistant", "user"]


def test_members_within_tools_calls_and_parts_are_found() -> None:
    call = {"id": "c", "index": 0, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    schema = {"type": "object", "x-mine": 1}
    function = {"name": "f", "parameters": schema, "cache": True}
    _, left_out = known(
        CHAT
        | {
            "messages": [{"role": "assistant", "content": None, "tool_calls": [call]}],
            "tools": [{"type": "function", "function": function, "more": 1}],
            "tool_choice": {"type": "function", "function": {"name": "f", "y": 1}},
            "stream_options": {"chunk_include_usage": True},
        }
    )
    assert set(left_out) == {
        "messages[].tool_calls[].index",
        "tools[].function.cache",
        "tools[].more",
        "tool_choice.function.y",
        "stream_options.chunk_include_usage",
    }


def test_schemas_keep_all_that_they_have() -> None:
    parameters = {"type": "object", "x-mine": {"a": [1]}}
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    request, _ = known(CHAT | {"tools": [tool], "unknown": 1})
    assert request.tools[0].function.parameters == parameters


def test_a_wrong_value_is_a_fault_beside_what_is_left_out() -> None:
    for wrong in ({"temperature": "hot"}, {"messages": 3}, {"n": 0}, {"messages": [{}]}):
        with pytest.raises(ApiError) as caught:
            known(CHAT | {"aaa": 1} | wrong)
        assert caught.value.status == 400
        assert caught.value.code in ("invalid_value", "missing_required_parameter")


@pytest.mark.parametrize("after", [b"x", b'"model": ', b"\xff", b"}}", b""])
def test_what_is_no_json_after_an_unknown_member_is_said(after: bytes) -> None:
    with pytest.raises(ApiError, match="not valid JSON") as refused:
        decode_known(b'{"nobody": 1, ' + after, ChatRequest)
    assert refused.value.status == 400


def test_the_header_is_ascii_and_short() -> None:
    assert header_of(()) == ()
    ((name, value),) = header_of(("a", "b.c"))
    assert (name, value) == (b"x-ignored-parameters", b"a, b.c")
    ((_, value),) = header_of(tuple(f"é\r\n{n},{'x' * 999}" for n in range(500)))
    assert value.isascii()
    assert b"\r" not in value
    assert value.endswith(f"and {500 - MOST_NAMED} more".encode())
    assert len(value) < 2000


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
BODIES: list[tuple[Any, dict[str, Any]]] = [
    (ChatRequest, CHAT),
    (CompletionRequest, {"model": "m", "prompt": "a", "stream_options": {}}),
    (
        ResponsesRequest,
        {"model": "m", "input": [{"role": "user", "content": [{"type": "text", "text": "a"}]}]},
    ),
]


def extended(part: Any, more: dict[str, Any]) -> Any:
    """With ``more`` members in every object."""
    if isinstance(part, list):
        return [extended(item, more) for item in part]
    if isinstance(part, dict):
        return {name: extended(member, more) for name, member in part.items()} | more
    return part


@given(
    which=st.sampled_from(BODIES),
    names=st.lists(st.text(min_size=1).map(lambda t: f"+{t}"), min_size=1, unique=True),
    value=anything,
)
def test_extra_members_anywhere_change_nothing(
    which: tuple[Any, dict[str, Any]], names: list[str], value: Any
) -> None:
    type, body = which
    request, left_out = known(extended(body, dict.fromkeys(names, value)), type)
    assert request == decode(json.dumps(body).encode(), type)
    assert set(names) <= set(left_out)


API = make_api("hello", infill=True, context_length=4000)
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
RECORDED: list[tuple[str, dict[str, Any]]] = [
    ("/v1/chat/completions", {"messages": [HELLO], "stream": False, "max_tokens": 5}),
    (
        "/v1/chat/completions",
        {
            "messages": [
                HELLO,
                {"role": "assistant", "content": None, "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "c", "content": [{"type": "text", "text": "1"}]},
            ],
            "tools": [{"type": "function", "function": {"name": "f", "description": "d"}}],
            "tool_choice": "auto",
            "max_completion_tokens": 5,
        },
    ),
    ("/v1/completions", {"prompt": "a", "max_tokens": 5, "stop": ["x"], "stream_options": None}),
    ("/infill", {"input_prefix": "a", "input_extra": [{"text": "b"}], "n_predict": 5}),
    (
        "/v1/responses",
        {
            "input": [{"type": "message", "role": "user", "content": "a"}],
            "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "g"}],
            "text": {"format": {"type": "text"}},
            "max_output_tokens": 5,
            "store": False,
        },
    ),
]


def check_recorded(place: int, names: list[str], value: Any) -> None:
    path, body = RECORDED[place]
    answer = API.call("POST", path, {"model": "tiny"} | extended(body, dict.fromkeys(names, value)))
    assert answer.status == 200, answer.body
    assert answer.headers["x-ignored-parameters"]


EXTRA: dict[str, Any] = {
    "place": st.integers(0, len(RECORDED) - 1),
    "names": st.lists(st.text(min_size=1).map(lambda t: f"+{t}"), min_size=1, max_size=3),
    "value": anything,
}


@settings(max_examples=60, deadline=None)
@given(**EXTRA)
def test_no_extra_member_is_an_error(place: int, names: list[str], value: Any) -> None:
    check_recorded(place, names, value)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=10_000, deadline=None)
@given(**EXTRA)
def test_no_extra_member_is_an_error_in_ten_thousand(
    place: int, names: list[str], value: Any
) -> None:
    check_recorded(place, names, value)


def test_each_object_is_looked_at_once() -> None:
    count = 5000
    message = {"role": "user", "content": [{"type": "text", "text": "a", "seen": True}], "x": 1}
    body = CHAT | {"messages": [message] * count}
    calls = python_calls(lambda: known(body))
    assert calls < 10 * count  # two objects and a list, each with a few
    assert known(body)[1] == ("messages[].content[].seen", "messages[].x")
