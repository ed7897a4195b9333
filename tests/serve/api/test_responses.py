from __future__ import annotations

import json
from typing import Any

import pytest

from liveweights.serve.api.settings import ApiSettings

from .doubles import Answer, Api, make_api, make_tokenizer

WEATHER = {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'


def respond(api: Api, input: Any = "hi", **parameters: Any) -> Answer:
    return api.call("POST", "/v1/responses", {"model": "tiny", "input": input} | parameters)


def events_of(answer: Answer) -> list[Any]:
    *events, rest = answer.body.decode().split("\n\n")
    assert rest == ""
    parsed: list[Any] = []
    for event in events:
        name, data = event.split("\n", 1)
        body = json.loads(data.removeprefix("data: "))
        assert name == f"event: {body['type']}"
        parsed.append(body)
    assert [event["sequence_number"] for event in parsed] == list(range(len(parsed)))
    return parsed


def prompt_of(api: Api) -> str:
    return make_tokenizer().decode(api.engine.calls[-1][1])


def test_answers_with_a_message() -> None:
    api = make_api("hello")
    answer = respond(api, instructions="be brief", metadata={"a": "b"}, user="u")
    body, generation = answer.json(), api.recorder.only()
    assert body["object"] == "response"
    assert body["status"] == "completed"
    assert body["generation"] == generation.id == answer.headers["x-generation-id"]
    assert body["checkpoint"] == generation.checkpoint
    (message,) = body["output"]
    assert message["content"] == [
        {"text": "hello", "logprobs": [], "annotations": [], "type": "output_text"}
    ]
    assert prompt_of(api).startswith("<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nhi")
    usage = body["usage"]
    assert usage["output_tokens"] == 6
    assert usage["total_tokens"] == usage["input_tokens"] + 6
    assert (generation.user, generation.metadata) == ("u", {"a": "b"})


def test_streams_openais_events() -> None:
    api = make_api("hi")
    events = events_of(respond(api, stream=True))
    assert [event["type"] for event in events] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    final = events[-1]["response"]
    assert final["output"][0]["content"][0]["text"] == "hi"
    assert final["output"][0] == events[-2]["item"]
    assert api.responses.rows["default", final["id"]].body == final


def test_a_call_is_an_item() -> None:
    api = make_api(f"Wait.\n{CALL}", context_length=4096)
    body = respond(api, tools=[WEATHER]).json()
    message, call = body["output"]
    assert message["content"][0]["text"] == "Wait."
    assert (call["type"], call["name"], call["status"]) == (
        "function_call",
        "get_weather",
        "completed",
    )
    assert json.loads(call["arguments"]) == {"city": "Rome"}
    events = events_of(respond(api, tools=[WEATHER], stream=True))
    kinds = [event["type"] for event in events]
    assert kinds.count("response.output_item.added") == 2
    assert kinds.count("response.output_item.done") == 2
    assert "response.function_call_arguments.delta" in kinds
    (done,) = (e for e in events if e["type"] == "response.function_call_arguments.done")
    assert json.loads(done["arguments"]) == {"city": "Rome"}
    assert done["output_index"] == 1


def test_a_conversation_goes_on() -> None:
    api = make_api(CALL, context_length=4096)
    first = respond(api, "Rome?", tools=[WEATHER]).json()
    (call,) = first["output"]
    result = {"type": "function_call_output", "call_id": call["call_id"], "output": "sunny"}
    second = respond(api, [result], previous_response_id=first["id"]).json()
    assert second["previous_response_id"] == first["id"]
    third = respond(api, "Sure?", previous_response_id=second["id"])
    assert third.status == 200
    prompt = prompt_of(api)
    places = [prompt.index(text) for text in ("Rome?", CALL, "sunny", "Sure?")]
    assert places == sorted(places)
    assert prompt.count("Rome?") == 1


def test_items_of_every_kind_are_read() -> None:
    api = make_api()
    items = [
        {"role": "developer", "content": "brief"},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "d", "name": "f", "arguments": "oops"},
        {"type": "function_call_output", "call_id": "c", "output": "e"},
        {"role": "user", "content": "?"},
    ]
    assert respond(api, items).status == 200
    assert "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb" in prompt_of(api)


def test_an_answer_that_was_cut_is_incomplete() -> None:
    body = respond(make_api("hello"), max_output_tokens=2).json()
    assert body["status"] == "incomplete"
    assert body["incomplete_details"] == {"reason": "max_output_tokens"}
    assert body["output"][0]["content"][0]["text"] == "he"
    events = events_of(respond(make_api("hello"), max_output_tokens=2, stream=True))
    assert events[-1]["type"] == "response.incomplete"


def test_silence_is_an_empty_message() -> None:
    assert respond(make_api("")).json()["output"][0]["content"][0]["text"] == ""
    kinds = [event["type"] for event in events_of(respond(make_api(""), stream=True))]
    assert kinds[-1] == "response.completed"
    assert "response.output_text.done" in kinds


@pytest.mark.parametrize("stream", [True, False])
def test_logprobs_when_they_are_asked_for(stream: bool) -> None:
    api = make_api("hi")
    include = ["message.output_text.logprobs"]
    answer = respond(api, include=include, top_logprobs=1, stream=stream)
    body = events_of(answer)[-1]["response"] if stream else answer.json()
    told = body["output"][0]["content"][0]["logprobs"]
    assert [entry["token"] for entry in told] == ["h", "i", "<|im_end|>"]
    assert len(told[0]["top_logprobs"]) == 1


def test_shows_and_forgets() -> None:
    api = make_api()
    body = respond(api).json()
    path = f"/v1/responses/{body['id']}"
    assert api.call("GET", path).json() == body
    assert api.call("DELETE", path).json()["deleted"] is True
    for method in ("GET", "DELETE"):
        missing = api.call(method, path)
        assert (missing.status, missing.error()["code"]) == (404, "response_not_found")
    gone = respond(api, previous_response_id=body["id"])
    assert gone.error()["code"] == "previous_response_not_found"


def test_what_is_not_to_be_stored_is_not() -> None:
    api = make_api()
    body = respond(api, store=False).json()
    assert body["store"] is False
    assert not api.responses.rows


def test_a_database_that_is_away_is_503_and_without_store_nobody_notices() -> None:
    api = make_api()
    api.responses.away = True
    assert respond(api, store=False).status == 200
    assert respond(api).status == 503
    assert respond(api, stream=True).status == 503
    api.responses.away, api.responses.full = False, True
    failed = events_of(respond(api, stream=True))[-1]
    assert failed["type"] == "response.failed"
    assert failed["response"]["error"]["code"] == "database_unavailable"


def test_an_engine_that_breaks_mid_stream_is_a_failed_response() -> None:
    events = events_of(respond(make_api("hello", fail_at=2), stream=True))
    assert events[-1]["type"] == "response.failed"
    assert "broke down" in events[-1]["response"]["error"]["message"]
    assert respond(make_api("hello", fail_at=2)).status == 503


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"input": []}, "input"),
        ({"input": [{"role": "user"}]}, "input[0].content"),
        ({"input": [{"content": "a"}]}, "input[0].role"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
        ({"input": [{"type": "function_call", "call_id": "a"}]}, "input[0].name"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0]",
        ),
        ({"input": "a\0"}, "input"),
        ({"input": "x" * 600}, "input"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"reasoning": {"effort": "high"}}, "reasoning.effort"),
        ({"reasoning": {"max_tokens": 9}}, "reasoning.max_tokens"),
        ({"chat_template_kwargs": {"tools": []}}, "chat_template_kwargs.tools"),
        ({"chat_template_kwargs": {"colour": 1}}, "chat_template_kwargs.colour"),
        ({"conversation": "c", "previous_response_id": "r"}, "previous_response_id"),
        ({"conversation": {"name": "c"}}, "conversation"),
        ({"include": ["file_search_call.results"]}, "include[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "custom"}]}, "tools[0].name"),
        ({"text": {"format": {"type": "json_schema", "name": "a"}}}, "text.format.schema"),
        ({"previous_response_id": "resp_none"}, "previous_response_id"),
        ({"messages": []}, "messages"),
        ({"top_logprobs": 2}, "top_logprobs"),
    ],
)
def test_refuses_by_name(parameters: dict[str, Any], param: str) -> None:
    api = make_api(settings=ApiSettings(strict=True))
    answer = respond(api, **parameters)
    assert answer.status == 400
    assert answer.error()["param"] == param
    assert not api.engine.calls


PATCH = {
    "type": "custom",
    "name": "apply_patch",
    "description": "Change files.",
    "format": {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"},
}
FILES = {
    "type": "namespace",
    "name": "files",
    "description": "Files.",
    "tools": [{"type": "function", "name": "read", "parameters": {"type": "object"}}],
}
SEARCH = {"type": "web_search", "external_web_access": False}


def called(name: str, arguments: Any) -> str:
    said = json.dumps({"name": name, "arguments": arguments})
    return f"<tool_call>\n{said}\n</tool_call>"


@pytest.mark.parametrize("stream", [True, False])
def test_a_custom_tool_is_called_with_a_text(stream: bool) -> None:
    api = make_api(called("apply_patch", {"input": "*** a\n+é"}), context_length=2000)
    answer = respond(api, tools=[PATCH], stream=stream)
    body = events_of(answer)[-1]["response"] if stream else answer.json()
    (item,) = body["output"]
    assert (item["type"], item["name"], item["input"]) == (
        "custom_tool_call", "apply_patch", "*** a\n+é",
    )  # fmt: skip
    assert "start: /.+/" in prompt_of(api)
    if stream:
        kinds = [event["type"] for event in events_of(answer)]
        assert "response.custom_tool_call_input.delta" in kinds
        assert "response.custom_tool_call_input.done" in kinds
    back = [
        {"role": "user", "content": "hi"},
        {k: item[k] for k in ("type", "call_id", "name", "input")},
        {"type": "custom_tool_call_output", "call_id": item["call_id"], "output": "done"},
    ]
    api.engine.text = "ok"
    assert respond(api, back, tools=[PATCH]).status == 200
    assert "*** a" in prompt_of(api)
    assert "done" in prompt_of(api)


@pytest.mark.parametrize("stream", [True, False])
def test_tools_of_a_namespace_keep_it(stream: bool) -> None:
    api = make_api(called("files.read", {"path": "a"}), context_length=2000)
    answer = respond(api, tools=[FILES, PATCH], stream=stream)
    body = events_of(answer)[-1]["response"] if stream else answer.json()
    (item,) = body["output"]
    assert (item["type"], item["namespace"], item["name"]) == ("function_call", "files", "read")
    back = [
        {"role": "user", "content": "hi"},
        {k: item[k] for k in ("type", "call_id", "namespace", "name", "arguments")},
        {
            "type": "function_call_output",
            "call_id": item["call_id"],
            "output": [{"type": "input_text", "text": "content of a"}],
        },
    ]
    assert respond(api, back, tools=[FILES]).status == 200
    assert "files.read" in prompt_of(api)
    assert "content of a" in prompt_of(api)
    chosen = {"type": "function", "name": "read", "namespace": "files"}
    assert respond(api, tools=[FILES, PATCH], tool_choice=chosen).status == 200


def test_what_only_openais_servers_run_is_left_out_and_named() -> None:
    api = make_api(context_length=2000)
    input = [
        {"type": "message", "role": "developer", "content": "be brief"},
        {"role": "user", "content": "hi"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "message", "role": "developer", "content": "in French"},
        {"role": "user", "content": "again"},
    ]
    answer = respond(
        api,
        input,
        instructions="You are an agent.",
        tools=[SEARCH, WEATHER, {"type": "local_shell"}],
        include=["reasoning.encrypted_content"],
        reasoning={"effort": "high", "summary": "auto"},
        text={"verbosity": "low"},
        parallel_tool_calls=False,
        store=False,
        prompt_cache_key="k",
        client_metadata={"a": "b"},
    )
    assert answer.status == 200, answer.body
    named = set(answer.headers["x-ignored-parameters"].split(", "))
    assert named == {
        "tools[0].type", "tools[2].type", "tools[].external_web_access", "include[0]",
        "reasoning.effort", "text.verbosity", "client_metadata",
    }  # fmt: skip
    assert "get_weather" in prompt_of(api)
    assert "in French" in prompt_of(api)


def test_what_the_template_and_the_engine_follow_reaches_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    template = "{{ reasoning_effort }} {{ enable_thinking }} {{ messages[0].content }}"
    monkeypatch.setattr(make_tokenizer(infill=False), "chat_template", template)
    api = make_api()
    answer = respond(
        api,
        reasoning={"effort": "low"},
        chat_template_kwargs={"enable_thinking": False},
        min_p=0.1,
        repetition_penalty=1.1,
        frequency_penalty=0.5,
        presence_penalty=-0.5,
        top_k=-1,
    )
    assert answer.status == 200, answer.body
    assert "x-ignored-parameters" not in answer.headers
    assert prompt_of(api).startswith("low False ")
    how = api.engine.calls[-1][2]
    assert (how.min_p, how.repetition_penalty, how.top_k) == (0.1, 1.1, 0)
    assert (how.frequency_penalty, how.presence_penalty) == (0.5, -0.5)


def test_an_assistant_that_refused_or_said_nothing_is_part_of_the_conversation() -> None:
    api = make_api(context_length=2000)
    answer = respond(
        api,
        [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]},
            {"role": "assistant", "content": None},
            {"role": "user", "content": "again"},
        ],
    )
    assert answer.status == 200, answer.body
    assert "I will not." in prompt_of(api)


def allowed(*tools: Any, mode: Any = "auto") -> dict[str, Any]:
    return {"type": "allowed_tools", "mode": mode, "tools": list(tools)}


def test_only_allowed_tools_are_called_and_all_are_told() -> None:
    api = make_api(called("files.read", {"path": "a"}), context_length=4096)
    read = {"type": "function", "name": "read", "namespace": "files"}
    answer = respond(api, tools=[FILES, PATCH, WEATHER], tool_choice=allowed(read))
    assert answer.status == 200, answer.body
    body = answer.json()
    assert [item["type"] for item in body["output"]] == ["function_call"]
    assert body["tool_choice"] == allowed(read)
    source = api.engine.calls[-1][2].constraint.source
    assert "files.read" in source
    assert "get_weather" not in source
    assert "get_weather" in prompt_of(api)
    patch = {"type": "custom", "name": "apply_patch"}
    answer = respond(api, tools=[FILES, PATCH], tool_choice=allowed(patch, mode="required"))
    assert [item["type"] for item in answer.json()["output"]] == ["message"]  # was not allowed
    assert len(api.engine.calls[-1][2].constraint.strings) == 1


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        (allowed({"type": "function", "name": "other"}), "tool_choice"),
        (allowed({"type": "function"}), "tool_choice.tools[0].name"),
        (allowed(mode=None), "tool_choice.mode"),
        ({"type": "allowed_tools", "mode": "auto"}, "tool_choice.tools"),
        (allowed(mode="all"), "tool_choice.mode"),
        ({"type": "custom"}, "tool_choice.name"),
    ],
)
def test_a_choice_that_makes_no_sense_is_refused_by_name(choice: Any, param: str) -> None:
    answer = respond(make_api(context_length=2000), tools=[WEATHER], tool_choice=choice)
    assert answer.status == 400
    assert answer.error()["param"] == param


@pytest.mark.parametrize(
    ("choice", "named"),
    [
        ({"type": "web_search"}, "tool_choice.type"),
        ({"type": "mcp"}, "tool_choice.type"),
        (
            allowed({"type": "image_generation"}, {"type": "function", "name": "get_weather"}),
            "tool_choice.tools[0].type",
        ),
    ],
)
def test_a_choice_that_cannot_be_run_is_left_out_and_named(choice: Any, named: str) -> None:
    api = make_api(CALL, context_length=2000)
    answer = respond(api, tools=[WEATHER], tool_choice=choice)
    assert answer.status == 200, answer.body
    assert answer.headers["x-ignored-parameters"] == named
    assert [item["type"] for item in answer.json()["output"]] == ["function_call"]
    body = {"model": "tiny", "input": "hi", "tools": [WEATHER], "tool_choice": choice}
    answer = api.call("POST", "/v1/responses", body, x_strict="1")
    assert (answer.status, answer.error()["param"]) == (400, named)
