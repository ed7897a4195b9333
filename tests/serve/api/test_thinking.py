"""What families think before they answer is kept apart, wherever an answer is cut."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.responses import Response

from liveweights.serve.api.thinking import effort_variables, names_in

from .doubles import TEMPLATE, Api, make_api
from .transcripts import TRANSCRIPTS, Transcript

TOOL = {
    "name": "get_weather",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
    },
}
OPENED = "{% if add_generation_prompt %}<think>\n{% endif %}"
PATHS = {
    "chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
    "responses": ("/v1/responses", {"input": "hi"}),
}


def api_of(one: Transcript, answer: str | None = None, **more: Any) -> Api:
    template = TEMPLATE + one.template + (OPENED if one.opened else "")
    said = one.answer if answer is None else answer
    return make_api(said, chat_template=template, context_length=4096, **more)


def body_of(way: str, **more: Any) -> tuple[str, dict[str, Any]]:
    path, body = PATHS[way]
    tool: Any = (
        {"type": "function", "function": TOOL} if way == "chat" else TOOL | {"type": "function"}
    )
    return path, {"model": "tiny", "tools": [tool], **body, **more}


def whole(api: Api, way: str, **more: Any) -> Any:
    path, body = body_of(way, **more)
    answer = api.call("POST", path, body)
    assert answer.status == 200, answer.body
    return answer.json()


def events(api: Api, way: str, **more: Any) -> list[Any]:
    path, body = body_of(way, stream=True, **more)
    answer = api.call("POST", path, body)
    assert answer.status == 200, answer.body
    lines = answer.body.decode().splitlines()
    data = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [json.loads(line) for line in data if line != "[DONE]"]


Told = tuple[str, str, list[tuple[str, Any]], int]


def of_chat(body: Any) -> Told:
    message = body["choices"][0]["message"]
    calls = [call["function"] for call in message.get("tool_calls", ())]
    return (
        message.get("reasoning_content", ""),
        message["content"] or "",
        [(call["name"], json.loads(call["arguments"])) for call in calls],
        body["usage"]["completion_tokens_details"]["reasoning_tokens"],
    )


def of_chunks(chunks: list[Any]) -> Told:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    calls = [call["function"] for delta in deltas for call in delta.get("tool_calls", ())]
    return (
        "".join(delta.get("reasoning_content", "") for delta in deltas),
        "".join(delta.get("content") or "" for delta in deltas),
        [(call["name"], json.loads(call["arguments"])) for call in calls],
        chunks[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"],
    )


def of_response(body: Any) -> Told:
    output = body["output"]
    return (
        "".join(
            part["text"]
            for item in output
            if item["type"] == "reasoning"
            for part in (*item["summary"], *item.get("content", ()))
        ),
        "".join(p["text"] for item in output if item["type"] == "message" for p in item["content"]),
        [(i["name"], json.loads(i["arguments"])) for i in output if i["type"] == "function_call"],
        body["usage"]["output_tokens_details"]["reasoning_tokens"],
    )


def told(api: Api, way: str, *, stream: bool) -> Told:
    if way == "chat":
        if not stream:
            return of_chat(whole(api, way))
        return of_chunks(events(api, way, stream_options={"include_usage": True}))
    if not stream:
        return of_response(whole(api, way))
    streamed = events(api, way)
    last = of_response(streamed[-1]["response"])
    for kind, text in (("reasoning_text", last[0]), ("output_text", last[1])):
        deltas = [e["delta"] for e in streamed if e["type"] == f"response.{kind}.delta"]
        assert "".join(deltas) == text
    return last


@pytest.mark.parametrize("way", PATHS)
@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_family_is_taken_apart(name: str, way: str) -> None:
    one = TRANSCRIPTS[name]
    for stream in (False, True):
        api = api_of(one)
        thought, text, calls, tokens = told(api, way, stream=stream)
        assert (thought, text, calls) == (one.thought, one.text, list(one.calls))
        row = api.recorder.only()
        assert row.reasoning == one.thought
        assert row.usage.get("reasoning_tokens", 0) == tokens
        assert (tokens > 0) == bool(one.thought)
        # What it thought are tokens of its own: they stay in the record, and in what is learnt.
        assert len(row.output_ids) == len(one.answer.encode()) + 1 == len(row.logprobs)
        if one.thought:
            assert one.thought not in row.output


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_wherever_it_is_cut_streamed_and_whole_are_equal(name: str) -> None:
    """At every byte, by the model's tokens and by ``max_tokens``."""
    one = TRANSCRIPTS[name]
    size = len(one.answer.encode())
    expected = told(api_of(one), "chat", stream=False)
    for at in range(1, size, 1 if size < 120 else 5):
        assert told(api_of(one, cuts=[at, size]), "chat", stream=True)[:3] == expected[:3]
        path, body = body_of("chat", max_tokens=at)
        answer = of_chat(api_of(one).call("POST", path, body).json())
        streaming = events(
            api_of(one), "chat", max_tokens=at, stream_options={"include_usage": True}
        )
        assert of_chunks(streaming) == answer
        assert expected[0].startswith(answer[0].rstrip("</think>|◁ \n")) or answer[0] == ""


PIECES = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<", "/think>", "'", "`", " ", "\n", "a", "é", "日", "<tool_call>"]
        + ["<|channel|>", "analysis", "final", "<|message|>", "<|end|>", "<|start|>assistant"]
    ),
    max_size=9,
).map("".join)


@pytest.mark.parametrize("family", ["qwen3", "qwq", "gpt-oss", "kimi k2 thinking"])
@settings(deadline=None, max_examples=80)
@given(answer=PIECES, cuts=st.lists(st.integers(1, 9), max_size=30))
def test_any_answer_is_the_same_streamed_and_whole(
    family: str, answer: str, cuts: list[int]
) -> None:
    one = TRANSCRIPTS[family]
    expected = told(api_of(one, answer), "chat", stream=False)
    assert told(api_of(one, answer), "chat", stream=True) == expected
    assert told(api_of(one, answer, cuts=cuts), "chat", stream=True)[:3] == expected[:3]
    if "<think>" not in answer and "<|" not in answer and not one.opened:
        assert expected[0] == ""
        assert expected[3] == 0


def test_a_summary_is_told_where_one_is_asked_for() -> None:
    one = TRANSCRIPTS["qwen3"]
    asked = {"reasoning": {"effort": "high", "summary": "auto"}}
    body = whole(api_of(one), "responses", **asked)
    first, second = body["output"]
    assert (first["type"], second["type"]) == ("reasoning", "function_call")
    assert first["summary"] == [{"type": "summary_text", "text": one.thought}]
    assert "content" not in first
    streamed = events(api_of(one), "responses", **asked)
    kinds = list(dict.fromkeys(event["type"] for event in streamed))
    assert kinds[2:8] == [
        "response.output_item.added",
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.reasoning_summary_part.done",
        "response.output_item.done",
    ]


def test_the_official_client_knows_all_of_it() -> None:
    one = TRANSCRIPTS["minimax m2"]
    for asked in ({}, {"reasoning": {"summary": "detailed"}}):
        for event in events(api_of(one), "responses", **asked):
            kinds: Any = openai.types.responses.ResponseStreamEvent
            from pydantic import TypeAdapter

            TypeAdapter(kinds).validate_python(event)
        response = Response.model_validate(whole(api_of(one), "responses", **asked))
        assert response.output[0].type == "reasoning"
        assert response.usage is not None
        assert response.usage.output_tokens_details.reasoning_tokens > 0
    answer = openai.types.chat.ChatCompletion.model_validate(whole(api_of(one), "chat"))
    assert answer.choices[0].message.model_extra == {"reasoning_content": one.thought}


def test_what_was_thought_goes_back_to_a_template_that_wants_it() -> None:
    template = (
        "{% for m in messages %}[{{ m.role }}:{{ m.content }}"
        "{% if m.reasoning_content %}|{{ m.reasoning_content }}{% endif %}]{% endfor %}"
        "{{ '<think>' if false }}"
    )
    api = make_api("<think>Why.</think>Yes.", chat_template=template)
    first = api.call("POST", "/v1/responses", {"model": "tiny", "input": "hi"}).json()
    assert [item["type"] for item in first["output"]] == ["reasoning", "message"]
    more = {"model": "tiny", "input": "and?", "previous_response_id": first["id"]}
    assert api.call("POST", "/v1/responses", more).status == 200
    prompt = api.engine.tokenizer.decode(api.engine.calls[-1][1])
    assert prompt == "[user:hi][assistant:Yes.|Why.][user:and?]"
    # A template that does not read it never gets it.
    api = make_api("<think>Why.</think>Yes.", chat_template=TEMPLATE + "{{ '<think>' if false }}")
    items = [*first["output"], {"role": "user", "content": "and?"}]
    sent = {"model": "tiny", "input": [{"role": "user", "content": "hi"}, *items]}
    assert api.call("POST", "/v1/responses", sent).status == 200
    assert "Why." not in api.engine.tokenizer.decode(api.engine.calls[-1][1])


@pytest.mark.parametrize(
    ("template", "effort", "told"),
    [
        ("{{ reasoning_effort }}", "high", {"reasoning_effort": "high"}),
        ("{% if not enable_thinking %}x{% endif %}", "none", {"enable_thinking": False}),
        ("{%- if thinking -%}{% endif %}", "low", {"thinking": True}),
        ("{{ reasoning_effort }}<|channel|>", "none", {"reasoning_effort": "low"}),
        ("{{ m.thinking }}{{ 'thinking' }} thinking", "low", None),
        ("plain", "low", None),
    ],
)
def test_an_effort_is_the_templates_switch(template: str, effort: str, told: Any) -> None:
    assert effort_variables(effort, template) == told


def test_names_are_those_of_expressions() -> None:
    assert names_in("{{ a.b['c'] }} d {% set e = \"f\" %}") >= {"a", "e"}
    assert not names_in("{{ a.b['c'] }} d {% set e = \"f\" %}") & {"b", "c", "d", "f"}
