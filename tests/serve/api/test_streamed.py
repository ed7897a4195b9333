"""A streamed answer is the whole one, wherever the model's tokens cut it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from .doubles import TEMPLATE, Api, make_api

TEMPLATES = {
    "hermes": TEMPLATE,
    "llama3": TEMPLATE + '{% if tools %}"parameters"{% endif %}',
    "mistral": TEMPLATE + "{% if tools %}[TOOL_CALLS]{% endif %}",
}
TOOL = {"name": "get_weather", "parameters": {"type": "object"}}
CALLS = (
    '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Köln 🌧"}}\n</tool_call>',
    '{"name": "get_weather", "parameters": {"city": "רומא"}}',
    '[TOOL_CALLS][{"name": "get_weather", "arguments": {}}]',
    '{"name": "get_weather", "arguments": {"city": "Rome"}}',
    '{"name": "unheard_of", "arguments": {}}',
)
PIECES = (*("👩‍👩‍👧‍👦", "😊", "שלום", "مرحبا", "é", "e\u0301", "日本", "\n", " ", "a", "END"),
          *("<", "<tool_call>", "</tool_call>", "{", '"', "[TOOL_CALLS]"), *CALLS)  # fmt: skip
ANSWERS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join)
CUTS = st.lists(st.integers(1, 9), max_size=40)
STOPS = st.sampled_from([None, "END", ["\n", "😊"], "</tool_call>"])


class Told(NamedTuple):
    """What a client has at the end: the text, the calls, and why it ended."""

    text: str
    calls: list[tuple[str, str]]
    reason: str


def of_completion(body: Any) -> Told:
    (choice,) = body["choices"]
    return Told(choice["text"], [], choice["finish_reason"])


def of_completions(events: list[Any]) -> Told:
    choices = [choice for event in events for choice in event["choices"]]
    reasons = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    return Told("".join(choice["text"] for choice in choices), [], *reasons)


def of_chat(body: Any) -> Told:
    (choice,) = body["choices"]
    calls = [call["function"] for call in choice["message"].get("tool_calls") or ()]
    said = choice["message"]["content"] or ""
    return Told(said, [(c["name"], c["arguments"]) for c in calls], choice["finish_reason"])


def of_chunks(events: list[Any]) -> Told:
    choices = [choice for event in events for choice in event["choices"]]
    reasons = [choice["finish_reason"] for choice in choices if choice["finish_reason"]]
    calls: dict[int, list[str]] = {}
    for choice in choices:
        for piece in choice["delta"].get("tool_calls") or ():
            call = calls.setdefault(piece["index"], ["", ""])
            call[0] += piece["function"].get("name", "")
            call[1] += piece["function"].get("arguments", "")
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    return Told(text, [(name, arguments) for name, arguments in calls.values()], *reasons)


def of_response(body: Any) -> Told:
    texts = [part["text"] for item in body["output"] for part in item.get("content", ())]
    calls = [item for item in body["output"] if item["type"] == "function_call"]
    return Told("".join(texts), [(c["name"], c["arguments"]) for c in calls], body["status"])


def of_response_events(events: list[Any]) -> Told:
    last = of_response(events[-1]["response"])
    deltas = [e["delta"] for e in events if e["type"] == "response.output_text.delta"]
    assert "".join(deltas) == last.text
    called = [e["delta"] for e in events if e["type"] == "response.function_call_arguments.delta"]
    assert "".join(called) == "".join(arguments for _, arguments in last.calls)
    return last


def of_infill(body: Any) -> Told:
    return Told(body["content"], [], body["stop_type"])


def of_infill_events(events: list[Any]) -> Told:
    return Told("".join(event["content"] for event in events), [], events[-1]["stop_type"])


class Way(NamedTuple):
    """An endpoint: what it is asked, and how its two kinds of answers are read."""

    path: str
    body: dict[str, Any]
    limit: str
    whole: Callable[[Any], Told]
    streamed: Callable[[list[Any]], Told]


CHAT = {"messages": [{"role": "user", "content": "hi"}]}
TOOLS = [{"type": "function", "function": TOOL}]
WAYS = {
    "completions": Way(
        "/v1/completions", {"prompt": "say: "}, "max_tokens", of_completion, of_completions
    ),
    "chat": Way("/v1/chat/completions", CHAT, "max_tokens", of_chat, of_chunks),
    "tools": Way("/v1/chat/completions", CHAT | {"tools": TOOLS}, "max_tokens", of_chat, of_chunks),
    "responses": Way(
        "/v1/responses",
        {"input": "hi", "tools": [TOOL | {"type": "function"}]},
        "max_output_tokens",
        of_response,
        of_response_events,
    ),
    "infill": Way(
        "/infill",
        {"input_prefix": "a = ", "input_suffix": ""},
        "n_predict",
        of_infill,
        of_infill_events,
    ),
}


def events_of(api: Api, path: str, body: dict[str, Any]) -> list[Any]:
    answer = api.call("POST", path, body | {"stream": True})
    assert answer.status == 200, answer.body
    lines = answer.body.decode().splitlines()
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [json.loads(line) for line in data if line != "[DONE]"]


@pytest.mark.parametrize("family", TEMPLATES)
@pytest.mark.parametrize("way", WAYS)
@settings(deadline=None, max_examples=60)
@given(text=ANSWERS, cuts=CUTS, limit=st.integers(1, 120), stop=STOPS)
def test_a_streamed_answer_is_the_whole_one(
    way: str, family: str, text: str, cuts: list[int], limit: int, stop: Any
) -> None:
    path, asked, limited, read_whole, read_streamed = WAYS[way]
    body = {"model": "tiny", **asked, limited: limit}
    if stop is not None and way != "responses":
        body["stop"] = [stop] if way == "infill" and isinstance(stop, str) else stop

    def api(cuts: list[int]) -> Api:
        return make_api(text, chat_template=TEMPLATES[family], context_length=2048, cuts=cuts)

    answer = api([]).call("POST", path, body)
    assert answer.status == 200, answer.body
    whole = read_whole(answer.json())
    recorded: list[str] = []
    for told in ([], cuts):
        streaming = api(told)
        assert read_streamed(events_of(streaming, path, body)) == whole
        recorded.append(streaming.recorder.only().output)
        again = api(told)
        assert read_whole(again.call("POST", path, body).json()) == whole
        recorded.append(again.recorder.only().output)
    assert len(set(recorded)) == 1
    assert "\ufffd" not in whole.text
