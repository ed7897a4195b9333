"""What families think before they answer is kept apart, wherever an answer is cut."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveweights.engines.protocol import Token
from liveweights.serve.api.parts import PartReader, Parts, take_apart
from liveweights.serve.api.syntax.find import find_syntax, find_thinker
from liveweights.serve.api.thinking import effort_variables, names_in

from .doubles import TEMPLATE, Api, make_api, make_tokenizer
from .servers import answering, make_server
from .transcripts import TRANSCRIPTS, Transcript

TOOL: dict[str, Any] = {
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
    function = {"type": "function"}
    tool: Any = function | ({"function": TOOL} if way == "chat" else TOOL)
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


def read(one: Transcript, *pieces: str) -> tuple[Parts, int]:
    """The parts of an answer that comes in these pieces, and the tokens of its thinking."""
    tokenizer = make_tokenizer(template=TEMPLATE + one.template)
    thinker, syntax = find_thinker(tokenizer), find_syntax(tokenizer)
    assert syntax is not None
    splitter = thinker and thinker.splitter("open" if one.opened else "free")
    reader = PartReader(splitter, syntax.reader({TOOL["name"]: TOOL["parameters"]}))
    parts = take_apart([Token(1, piece, 0, 0) for piece in pieces], reader)
    return parts, splitter.tokens if splitter else 0


def plain(parts: Parts) -> Any:
    return parts.thought, parts.text, [(call.name, call.arguments) for call in parts.calls]


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_wherever_it_is_cut_it_is_the_same(name: str) -> None:
    """At every character (only its last byte shows it), and where ``max_tokens`` ends it."""
    one = TRANSCRIPTS[name]
    whole, _ = read(one, one.answer)
    assert plain(whole)[:2] == (one.thought, one.text)
    assert [(call.name, json.loads(call.arguments)) for call in whole.calls] == list(one.calls)
    for at in range(len(one.answer) + 1):
        before, after = one.answer[:at], one.answer[at:]
        assert plain(read(one, before, after)[0]) == plain(whole)
        assert plain(read(one, *before)[0]) == plain(read(one, before)[0])
        assert plain(read(one, before, *after)[0]) == plain(whole)


PIECES = st.lists(
    st.sampled_from(
        [
            *("<think>", "</think>", "<", "/think>", "'", "`", " ", "\n", "é", "<tool_call>"),
            *("<|channel|>", "analysis", "final", "<|message|>", "<|end|>", "<|start|>assistant"),
        ]
    ),
    max_size=9,
).map("".join)


@pytest.mark.parametrize("family", ["qwen3", "qwq", "gpt-oss", "kimi k2 thinking"])
@settings(deadline=None, max_examples=25)
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


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("text", ["<<think>", "<think<think>", "<", "</", "</thin' k"])
def test_what_looks_like_a_mark_after_a_quoted_end_is_told_once(text: str, size: int) -> None:
    one = TRANSCRIPTS["qwq"]
    answer = f"'</think>{text}"
    for stream in (False, True):
        thought, said, *_ = told(api_of(one, answer, cuts=[size] * 30), "chat", stream=stream)
        assert (thought, said) == ("'", text)


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


def test_the_official_client_reads_all_of_it() -> None:
    one = TRANSCRIPTS["minimax m2"]

    async def run() -> None:
        async with (
            answering(make_server(api_of(one).app)) as url,
            openai.AsyncOpenAI(base_url=url, api_key="none") as client,
        ):
            for summary in (None, "detailed"):
                more: Any = {} if summary is None else {"reasoning": {"summary": summary}}
                _, body = body_of("responses", **more)
                kinds: list[str] = []
                async with client.responses.stream(**body) as stream:
                    async for event in stream:
                        kinds.append(type(event).__name__)
                    last = await stream.get_final_response()
                assert f"ResponseReasoning{'Summary' if summary else ''}TextDeltaEvent" in kinds
                item = last.output[0]
                assert item.type == "reasoning"
                parts = item.summary if summary else item.content
                assert parts is not None
                assert [part.text for part in parts] == [one.thought]
                assert last.usage is not None
                assert last.usage.output_tokens_details.reasoning_tokens > 0
            _, body = body_of("chat")
            answer = await client.chat.completions.create(**body)
            assert answer.choices[0].message.model_extra == {"reasoning_content": one.thought}
            assert answer.usage is not None
            assert answer.usage.completion_tokens_details is not None
            assert answer.usage.completion_tokens_details.reasoning_tokens
            thought = ""
            async for chunk in await client.chat.completions.create(**body, stream=True):
                extra: Any = chunk.choices[0].delta.model_extra
                thought += extra.get("reasoning_content", "")
            assert thought == one.thought

    asyncio.run(run())


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
