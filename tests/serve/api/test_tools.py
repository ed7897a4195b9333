from __future__ import annotations

import json
from typing import Any

import pytest

from .doubles import Api, make_tokenizer
from .doubles import make_api as make_small_api

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
CALL = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Rome"}}\n</tool_call>'


def allowed(*names: str, mode: str = "auto") -> dict[str, Any]:
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools}}


def make_api(text: str = "hello", **engine: Any) -> Api:
    return make_small_api(text, context_length=4096, **engine)


def test_a_call_is_taken_out_of_the_answer() -> None:
    api = make_api(f"One moment.\n{CALL}")
    body = api.chat(tools=[WEATHER]).json()
    (choice,) = body["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] == "One moment."
    (call,) = choice["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Rome"}
    generation = api.recorder.only()
    assert generation.finish_reason == "stop"
    assert generation.output.endswith("</tool_call>")  # what was sampled, as it was


def test_only_a_call_has_no_content() -> None:
    message = make_api(CALL).chat(tools=[WEATHER]).json()["choices"][0]["message"]
    assert message["content"] is None
    assert len(message["tool_calls"]) == 1


@pytest.mark.parametrize("logprobs", [True, False])
def test_calls_are_streamed_whole_and_text_as_it_comes(logprobs: bool) -> None:
    api = make_api(f"Well.\n{CALL}\n{CALL}")
    events = api.chat(tools=[WEATHER], stream=True, logprobs=logprobs).events()
    deltas = [event["choices"][0]["delta"] for event in events]
    assert deltas[0]["role"] == "assistant"
    assert "".join(delta.get("content") or "" for delta in deltas) == "Well."
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert [call["index"] for call in calls] == [0, 1]
    assert len({call["id"] for call in calls}) == 2
    assert deltas[-1] == {}
    assert [e["choices"][0]["finish_reason"] for e in events] == [None] * (len(events) - 1) + [
        "tool_calls"
    ]
    if logprobs:
        told = [t for e in events for t in (e["choices"][0]["logprobs"] or {})["content"]]
        assert len(told) == len(api.recorder.only().output_ids)


def test_an_answer_that_was_cut_is_still_length() -> None:
    choice = make_api(CALL).chat(tools=[WEATHER], max_tokens=20).json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["content"] == CALL[:20]


def test_the_prompt_tells_the_tools_and_what_they_answered() -> None:
    api = make_api()
    call = {
        "id": "call_abc",
        "type": "function",
        "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'},
    }
    messages = [
        {"role": "user", "content": "Rome?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_abc", "content": "sunny"},
    ]
    assert api.chat(messages=messages, tools=[WEATHER]).status == 200
    prompt = make_tokenizer().decode(api.engine.calls[-1][1])
    assert '"name": "get_weather"' in prompt
    assert "The weather in a city." in prompt
    assert CALL in prompt
    assert "<tool_response>\nsunny\n</tool_response>" in prompt


def test_templates_that_know_tools_get_them_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    template = (
        "{% for t in tools %}[{{ t.function.name }}]{% endfor %}<tool_call>"
        "{% for m in messages %}{{ m.role }}:{{ m.content }}"
        "{% for c in m.tool_calls or [] %}{{ c.id }}={{ c.function.arguments.city }}{% endfor %}"
        "{% if m.tool_call_id %}{{ m.tool_call_id }}/{{ m.name }}{% endif %};{% endfor %}"
    )
    tokenizer = make_tokenizer(infill=False)
    monkeypatch.setattr(tokenizer, "chat_template", template)
    api = make_api()
    call = {"id": "abcdefghi", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
    messages = [
        {"role": "user", "content": "?"},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "abcdefghi", "content": "sunny"},
    ]
    assert api.chat(messages=messages, tools=[WEATHER]).status == 200
    assert tokenizer.decode(api.engine.calls[-1][1]) == (
        "[get_weather]<tool_call>user:?;assistant:abcdefghi=Rome;tool:sunnyabcdefghi/get_weather;"
    )


def constraint_of(**parameters: Any) -> Any:
    api = make_api()
    assert api.chat(**parameters).status == 200
    return api.engine.calls[-1][2].constraint


def test_what_is_forced_is_a_constraint() -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    strict = {"type": "function", "function": WEATHER["function"] | {"strict": True}}
    assert constraint_of(tools=[WEATHER]) is None
    assert constraint_of(tools=[WEATHER], tool_choice="auto") is None
    assert constraint_of(tools=[WEATHER], tool_choice="none") is None
    for parameters in (
        {"tools": [WEATHER], "tool_choice": "required"},
        {"tools": [WEATHER], "tool_choice": named},
        {"tools": [strict]},
        {"tools": [WEATHER], "parallel_tool_calls": False},
    ):
        constraint = constraint_of(**parameters)
        assert constraint.kind == "lark"
        assert "get_weather" in constraint.source


def test_formats_are_constraints() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    format = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    assert constraint_of(response_format={"type": "text"}) is None
    assert json.loads(constraint_of(response_format=format).source) == schema
    assert constraint_of(response_format={"type": "json_object"}).kind == "json_schema"
    both = constraint_of(response_format=format, tools=[WEATHER])
    assert both.kind == "lark"
    assert "answer: %json" in both.source


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        ({"tools": [{"type": "custom"}]}, "tools[0].custom"),
        ({"tools": [WEATHER], "tool_choice": {"type": "function"}}, "tool_choice.function"),
        ({"tools": [WEATHER], "tool_choice": {"type": "custom"}}, "tool_choice.custom"),
        ({"tools": [WEATHER], "tool_choice": allowed("get_time")}, "tool_choice"),
        (
            {"tools": [WEATHER], "tool_choice": allowed("get_weather", mode="all")},
            "tool_choice.allowed_tools.mode",
        ),
        ({"tool_choice": allowed("get_weather")}, "tool_choice"),
        (
            {"tools": [WEATHER], "tool_choice": {"type": "allowed_tools"}},
            "tool_choice.allowed_tools",
        ),
        ({"tools": [WEATHER, WEATHER]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools[0].function.name"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": "some"}, "tool_choice"),
        (
            {
                "tools": [WEATHER],
                "tool_choice": {"type": "function", "function": {"name": "other"}},
            },
            "tool_choice",
        ),
        ({"functions": [{}]}, "functions"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (
            {"messages": [{"role": "tool", "content": "a"}]},
            "messages[0].tool_call_id",
        ),
        (
            {"messages": [{"role": "user", "content": "a", "tool_calls": [{}]}]},
            "messages[0].tool_calls[0].id",
        ),
    ],
)
def test_refuses_by_name(parameters: dict[str, Any], param: str) -> None:
    api = make_api()
    answer = api.chat(**parameters)
    assert answer.status == 400
    assert answer.error()["param"] == param
    assert not api.engine.calls


def test_a_model_whose_calls_cannot_be_read_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(make_tokenizer(infill=False), "chat_template", "{% if tools %}?{% endif %}")
    answer = make_api().chat(tools=[WEATHER])
    assert answer.status == 400
    assert answer.error()["param"] == "tools"


def test_schemas_are_bounded_where_an_answer_has_to_fit_them() -> None:
    api = make_small_api("{}", context_length=10**6)
    schema = {"type": "object", "properties": {"a": {"enum": ["x" * 70_000]}}}
    format = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    half = {"type": "object", "properties": {"a": {"enum": ["x" * 40_000]}}}
    tools = [{"type": "function", "function": {"name": name, "parameters": half}} for name in "ab"]
    for more in ({"response_format": format}, {"tools": tools, "tool_choice": "required"}):
        answer = api.chat(**more)
        assert (answer.status, answer.error()["code"]) == (400, "schema_too_large")
    assert not api.engine.calls
    assert api.chat(tools=tools).status == 200  # free to call or not: nothing is compiled


TIME: dict[str, Any] = {"type": "function", "function": {"name": "get_time"}}
SEARCH = {"type": "web_search"}


def test_only_allowed_tools_are_called_and_all_are_told() -> None:
    api = make_api(CALL)
    answer = api.chat(tools=[WEATHER, TIME], tool_choice=allowed("get_weather"))
    assert answer.json()["choices"][0]["message"]["tool_calls"]
    source = api.engine.calls[-1][2].constraint.source
    assert "get_weather" in source
    assert "get_time" not in source
    assert "rest" in source  # it may say something instead
    assert "get_time" in make_tokenizer().decode(api.engine.calls[-1][1])
    answer = api.chat(tools=[WEATHER, TIME], tool_choice=allowed("get_time"))
    (choice,) = answer.json()["choices"]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("stop", CALL)
    assert constraint_of(tools=[WEATHER, TIME], tool_choice=allowed("get_weather", "get_time")) is (
        None  # no tool is left out
    )
    forced = constraint_of(
        tools=[WEATHER, TIME], tool_choice=allowed("get_weather", mode="required")
    )
    assert "get_time" not in forced.source
    assert "rest" not in forced.source


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"tools": [SEARCH, WEATHER]}, "tools[0].type"),
        ({"tools": [WEATHER], "tool_choice": SEARCH}, "tool_choice.type"),
        (
            {
                "tools": [WEATHER],
                "tool_choice": {
                    "type": "allowed_tools",
                    "allowed_tools": {
                        "mode": "auto",
                        "tools": [*allowed("get_weather")["allowed_tools"]["tools"], SEARCH],
                    },
                },
            },
            "tool_choice.allowed_tools.tools[1].type",
        ),
    ],
)
def test_tools_that_cannot_be_run_are_left_out_and_named(
    parameters: dict[str, Any], named: str
) -> None:
    api = make_api(CALL)
    answer = api.chat(**parameters)
    assert answer.status == 200, answer.body
    assert answer.headers["x-ignored-parameters"] == named
    assert answer.json()["choices"][0]["finish_reason"] == "tool_calls"
    body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}]} | parameters
    answer = api.call("POST", "/v1/chat/completions", body, x_strict="1")
    assert (answer.status, answer.error()["param"]) == (400, named)


def test_nothing_is_called_where_only_tools_that_cannot_be_run_are_allowed() -> None:
    hosted = {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": [SEARCH]},
    }
    api = make_api("I cannot.")
    answer = api.chat(tools=[WEATHER, SEARCH], tool_choice=hosted)
    assert answer.json()["choices"][0]["message"]["content"] == "I cannot."
    assert api.engine.calls[-1][2].constraint is None


def test_what_an_engine_cannot_be_held_to_is_left_out_and_named() -> None:
    """Clients set these by themselves."""
    strict = {"type": "function", "function": WEATHER["function"] | {"strict": True}}
    api = make_api(CALL, guided=False)
    answer = api.chat(
        tools=[TIME, strict], parallel_tool_calls=False, tool_choice=allowed("get_weather")
    )
    assert answer.json()["choices"][0]["finish_reason"] == "tool_calls"
    assert answer.headers["x-ignored-parameters"] == "tools[1].function.strict, parallel_tool_calls"
    assert api.engine.calls[-1][2].constraint is None
    assert "get_time" not in make_tokenizer().decode(api.engine.calls[-1][1])
    assert api.chat(tools=[WEATHER], tool_choice="required").status == 200
    assert api.engine.calls[-1][2].constraint is not None  # which the engine itself refuses


@pytest.mark.parametrize("levels", [90, 101, 500, 990, 5000])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
def test_arguments_of_an_earlier_call_may_be_nested_however_deeply(path: str, levels: int) -> None:
    arguments = '{"a": ' * levels + "1" + "}" * levels
    api = make_small_api("hello", context_length=100_000)
    if path == "/v1/responses":
        called = {"type": "function_call", "call_id": "c", "name": "f", "arguments": arguments}
        told = {"type": "function_call_output", "call_id": "c", "output": "1"}
        body: dict[str, Any] = {"input": [{"role": "user", "content": "a"}, called, told]}
    else:
        function = {"name": "f", "arguments": arguments}
        calls = [{"id": "c", "type": "function", "function": function}]
        body = {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "tool_calls": calls},
                {"role": "tool", "tool_call_id": "c", "content": "1"},
            ]
        }
    answer = api.call("POST", path, {"model": "tiny"} | body)
    assert answer.status == 200, answer.body
    assert "hello" in answer.body.decode()
