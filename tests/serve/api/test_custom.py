"""Tools that take a free text, in chats and in responses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .doubles import Answer, Api, make_tokenizer
from .doubles import make_api as make_small_api

REGEX = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "[a-z]+"}}
PATCH: dict[str, Any] = {
    "name": "apply_patch",
    "description": "Edits files.",
    "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "start: /.+/"}},
}
TEXT = '*** a\n+é\t"b\\'
CALL = (
    "<tool_call>\n"
    + json.dumps({"name": "apply_patch", "arguments": {"input": TEXT}}, ensure_ascii=False)
    + "\n</tool_call>"
)


def make_api(text: str = CALL, **engine: Any) -> Api:
    return make_small_api(text, context_length=4096, **engine)


def custom(**changes: Any) -> dict[str, Any]:
    return {"type": "custom", "custom": {**PATCH, **changes}}


def flat(tool: dict[str, Any]) -> dict[str, Any]:
    """The same tool as a response's client has it."""
    of = dict(tool["custom"])
    format = of.pop("format")
    return {"type": "custom", **of, "format": {"type": format["type"], **format.get("grammar", {})}}


def prompt_of(api: Api) -> str:
    return make_tokenizer().decode(api.engine.calls[-1][1])


def calls_of(answer: Answer, *, stream: bool) -> list[Any]:
    if not stream:
        (choice,) = answer.json()["choices"]
        assert choice["finish_reason"] == "tool_calls"
        return choice["message"]["tool_calls"]
    choices = [choice for event in answer.events() for choice in event["choices"]]
    assert choices[-1]["finish_reason"] == "tool_calls"
    calls = [call for choice in choices for call in choice["delta"].get("tool_calls", ())]
    assert [call.pop("index") for call in calls] == list(range(len(calls)))
    return calls


@pytest.mark.parametrize("stream", [True, False])
def test_a_chat_calls_it_with_a_text(stream: bool) -> None:
    api = make_api(f"Well.\n{CALL}\n{CALL}")
    calls = calls_of(api.chat(tools=[custom()], stream=stream), stream=stream)
    for call in calls:
        id = call.pop("id")
        assert call == {"type": "custom", "custom": {"name": "apply_patch", "input": TEXT}}
        assert id
    assert len(calls) == 2
    assert "Edits files." in prompt_of(api)
    assert "start: /.+/" in prompt_of(api)


@pytest.mark.parametrize("given", [{"a": None, "é": [True]}, [1, "b"], None, False, 1.5])
def test_what_is_no_text_is_told_as_json(given: Any) -> None:
    arguments = json.dumps({"input": given}, ensure_ascii=False)
    call = f'<tool_call>\n{{"name": "apply_patch", "arguments": {arguments}}}\n</tool_call>'
    told = json.dumps(given, ensure_ascii=False)
    tool = custom(format={"type": "text"})
    (made,) = calls_of(make_api(call).chat(tools=[tool]), stream=False)
    assert made["custom"]["input"] == told
    free = flat(tool)
    answer = make_api(call).call(
        "POST", "/v1/responses", {"model": "tiny", "input": "Go.", "tools": [free]}
    )
    (item,) = answer.json()["output"]
    assert item["input"] == told


def test_calls_come_back_with_what_they_answered() -> None:
    api = make_api()
    (call,) = calls_of(api.chat(tools=[custom()]), stream=False)
    api.engine.text = "ok"
    messages = [
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": call["id"], "content": "done"},
    ]
    answer = api.chat(messages=messages, tools=[custom()])
    assert answer.json()["choices"][0]["message"]["content"] == "ok"
    assert CALL in prompt_of(api)  # as the model wrote it
    assert "<tool_response>\ndone\n</tool_response>" in prompt_of(api)
    del call["custom"]
    answer = api.chat(messages=messages, tools=[custom()])
    assert answer.error()["param"] == "messages[1].tool_calls[0].custom"


def test_chats_and_responses_ask_the_engine_for_the_same() -> None:
    asked: list[Any] = []
    for choice in ("auto", "required"):
        api = make_api()
        assert api.chat(tools=[custom(format=REGEX)], tool_choice=choice).status == 200
        body = {"model": "tiny", "input": "hi", "tools": [flat(custom(format=REGEX))]}
        body["tool_choice"] = choice
        assert api.call("POST", "/v1/responses", body).status == 200
        (_, one, how), (_, other, same) = api.engine.calls
        assert one == other
        assert how.constraint == same.constraint
        asked.append(how.constraint)
    for constraint in asked:
        (string,) = constraint.strings
        assert (string.kind, string.source) == ("regex", "[a-z]+")
        assert string.about == "the grammar of the tool 'apply_patch'"
        assert f"{string.rule}[capture]" in constraint.source
    assert asked[0].source != asked[1].source  # what is free may say something else


def test_a_grammar_holds_no_other_tool_to_its_schema() -> None:
    """Agents offer many, some with a schema that cannot be enforced."""
    schema = {"type": "object", "properties": {"a": {"not": {"type": "integer"}}}}
    other = {"type": "function", "function": {"name": "f", "parameters": schema}}
    api = make_api()
    assert api.chat(tools=[other, custom()]).status == 200
    assert "integer" not in api.engine.calls[-1][2].constraint.source
    assert "integer" in prompt_of(api)
    assert api.chat(tools=[other, custom()], tool_choice="required").status == 200
    assert "integer" in api.engine.calls[-1][2].constraint.source


def test_a_text_without_a_grammar_is_free() -> None:
    for format in ({"type": "text"}, None):
        api = make_api()
        assert api.chat(tools=[custom(format=format)]).status == 200
        assert api.engine.calls[-1][2].constraint is None
        assert "grammar" not in prompt_of(api)


def test_one_can_be_chosen_and_allowed() -> None:
    other = {"type": "function", "function": {"name": "f"}}
    chosen = {"type": "custom", "custom": {"name": "apply_patch"}}
    several = {
        "type": "allowed_tools",
        "allowed_tools": {"mode": "required", "tools": [chosen]},
    }
    for choice in (chosen, several):
        api = make_api()
        answer = api.chat(tools=[other, custom()], tool_choice=choice)
        assert len(calls_of(answer, stream=False)) == 1
        constraint = api.engine.calls[-1][2].constraint
        assert [string.rule for string in constraint.strings] == ["input_0"]
        assert '"f' not in constraint.source


def test_an_engine_that_cannot_be_held_to_it_is_told() -> None:
    api = make_api(guided=False)
    answer = api.chat(tools=[custom()])
    assert answer.headers["x-ignored-parameters"] == "tools[0].custom.format"
    assert api.engine.calls[-1][2].constraint is None
    assert "start: /.+/" in prompt_of(api)
    (call,) = calls_of(answer, stream=False)
    assert call["custom"]["input"] == TEXT


@pytest.mark.parametrize(
    ("format", "param"),
    [
        ({"type": "grammar"}, "tools[0].custom.format.definition"),
        ({"type": "grammar", "grammar": {"syntax": "lark"}}, "tools[0].custom.format.grammar"),
        (
            {"type": "grammar", "grammar": {"syntax": "gbnf", "definition": ""}},
            "tools[0].custom.format.grammar.syntax",
        ),
        ({"type": "xml"}, "tools[0].custom.format.type"),
    ],
)
def test_what_is_no_format_is_refused_by_name(format: Any, param: str) -> None:
    answer = make_api().chat(tools=[custom(format=format)])
    assert answer.status == 400
    assert answer.error()["param"].startswith(param)


def test_grammars_count_as_what_an_answer_is_held_to() -> None:
    long = {"type": "grammar", "grammar": {"syntax": "regex", "definition": "a" * 70_000}}
    api = make_small_api(context_length=10**6)
    answer = api.chat(tools=[custom(format=long)])
    assert answer.error()["code"] == "schema_too_large"
