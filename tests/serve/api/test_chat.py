from __future__ import annotations

from typing import Any

import pytest

from liveweights.serve.api.settings import ApiSettings

from .doubles import BASE, make_api, make_tokenizer


def prompt_of(api: Any) -> str:
    return make_tokenizer().decode(api.engine.calls[-1][1])


def test_answers_in_the_models_template() -> None:
    api = make_api("hello")
    answer = api.chat("hi")
    body, generation = answer.json(), api.recorder.only()
    assert body["object"] == "chat.completion"
    assert body["choices"] == [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "hello", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
            "generation": generation.id,
        }
    ]
    assert prompt_of(api) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    assert body["id"] == generation.id == answer.headers["x-generation-id"]
    assert body["checkpoint"] == BASE
    assert (generation.endpoint, generation.healed) == ("chat", "")


def test_streams() -> None:
    api = make_api("hello")
    events = api.chat(stream=True, stream_options={"include_usage": True}).events()
    *chunks, usage = events
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
    assert deltas[0]["role"] == "assistant"
    assert all("role" not in delta for delta in deltas[1:])
    assert "".join(delta["content"] for delta in deltas) == "hello"
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert usage["usage"]["completion_tokens"] == 6
    for event in events:
        assert event["object"] == "chat.completion.chunk"
        assert event["checkpoint"] == BASE
        assert event["id"] == api.recorder.only().id


def test_reads_text_parts_and_what_the_client_sends_back() -> None:
    api = make_api()
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    earlier = {
        "role": "assistant",
        "content": "c",
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": None,
    }
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": parts, "name": "x"},
        earlier,
        {"role": "user", "content": ""},
    ]
    assert api.chat(messages=messages).status == 200
    assert prompt_of(api) == (
        "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user\nab<|im_end|>\n"
        "<|im_start|>assistant\nc<|im_end|>\n<|im_start|>user\n<|im_end|>\n"
        "<|im_start|>assistant\n"
    )


def test_without_a_limit_the_answer_has_the_room_that_is_left() -> None:
    api = make_api(settings=ApiSettings(max_chat_tokens=100))
    api.chat()
    assert api.engine.calls[-1][2].max_tokens == 100
    api.chat("x" * 450)
    _, prompt, sampling = api.engine.calls[-1]
    assert len(prompt) + sampling.max_tokens == 512


def test_a_full_context_is_an_error() -> None:
    answer = make_api().chat("x" * 600)
    assert answer.status == 400
    assert answer.error()["code"] == "context_length_exceeded"


def test_long_conversations_are_tokenized_alike() -> None:
    api = make_api(context_length=50_000)
    assert api.chat("x" * 40_000).status == 200
    assert len(api.engine.calls[0][1]) > 40_000


def test_both_names_of_the_limit_work() -> None:
    api = make_api()
    for parameters in (
        {"max_tokens": 3},
        {"max_completion_tokens": 3},
        {"max_tokens": 9, "max_completion_tokens": 3},
    ):
        assert api.chat(**parameters).json()["choices"][0]["message"]["content"] == "hel"


def test_logprobs() -> None:
    choice = make_api("é").chat(logprobs=True, top_logprobs=2).json()["choices"][0]
    first, second, end = choice["logprobs"]["content"]
    assert bytes(first["bytes"] + second["bytes"]).decode() == "é"
    assert end["token"] == "<|im_end|>"
    assert bytes(end["bytes"]) == b"<|im_end|>"
    assert [top["logprob"] for top in end["top_logprobs"]] == [-1.0, -2.0]
    events = make_api("é").chat(logprobs=True, top_logprobs=2, stream=True).events()
    streamed = [entry for event in events for entry in event["choices"][0]["logprobs"]["content"]]
    assert streamed == [first, second, end]


@pytest.mark.parametrize("stream", [True, False])
def test_several_choices(stream: bool) -> None:
    api = make_api("hello")
    answer = api.chat(n=2, stream=stream)
    if stream:
        texts = ["", ""]
        for event in answer.events():
            texts[event["choices"][0]["index"]] += event["choices"][0]["delta"]["content"]
    else:
        texts = [choice["message"]["content"] for choice in answer.json()["choices"]]
    assert texts == ["hello", "hello"]
    assert len(api.recorder.generations) == 2


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "king", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "function", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "assistant", "content": "a"}]}, "messages"),
        (
            {
                "messages": [
                    {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}
                ]
            },
            "messages[0].content[0]",
        ),
        ({"modalities": ["audio"]}, "modalities"),
        ({"logprobs": 1}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"prompt": "x"}, "prompt"),
    ],
)
def test_refuses_by_name(parameters: dict[str, Any], param: str) -> None:
    api = make_api(settings=ApiSettings(strict=True))
    answer = api.chat(**parameters)
    assert answer.status == 400
    assert answer.error()["param"] == param
    assert not api.engine.calls


def test_takes_neutral_parameters() -> None:
    answer = make_api().chat(
        tools=[],
        tool_choice="none",
        response_format={"type": "text"},
        modalities=["text"],
        parallel_tool_calls=True,
        logprobs=False,
        stop=[],
    )
    assert answer.status == 200


def test_a_text_that_was_cut_within_a_character_is_read() -> None:
    """As clients in JavaScript cut it."""
    api = make_api()
    half = "\ud83d"
    messages = [{"role": "user", "content": f"cut {half} \ud83d\ude00"}]
    # Beside what is not known here, too, which is taken out of it.
    for more in ({}, {"colour": half, "user": f"ada{half}"}):
        answer = api.call(
            "POST", "/v1/chat/completions", {"model": "tiny", "messages": messages, **more}
        )
        assert answer.status == 200, answer.body
        assert "cut \ufffd \U0001f600" in prompt_of(api)
    # The NUL behind it is still seen.
    stored = {"model": "tiny", "input": f"{half} \0"}
    answer = api.call("POST", "/v1/responses", stored)
    assert (answer.status, answer.error()["code"]) == (400, "invalid_value")
    said = {"generation": next(iter(api.recorder.generations)), "signal": "comment"}
    answer = api.call("POST", "/v1/feedback", said | {"text": f"good {half}"})
    assert answer.status == 201, answer.body
    assert [one.text for one in api.recorder.feedback.values()] == ["good \ufffd"]


def test_a_model_without_a_template_says_what_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    api = make_api()
    monkeypatch.setattr(api.engine.tokenizer, "chat_template", None)
    answer = api.chat()
    assert answer.status == 400
    assert "/v1/completions" in answer.error()["message"]


@pytest.mark.parametrize("way", ["prefix", "continue_final_message"])
def test_the_assistants_last_message_can_be_continued(way: str) -> None:
    api = make_api("hello")
    begun = {"role": "assistant", "content": "Sure, "}
    messages = [
        {"role": "user", "content": "hi"},
        begun | ({"prefix": True} if way == "prefix" else {}),
    ]
    more = {} if way == "prefix" else {way: True, "add_generation_prompt": False}
    answer = api.chat(messages=messages, **more)
    assert answer.status == 200, answer.body
    assert prompt_of(api) == "<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nSure,"
    assert api.engine.calls[-1][2].skip == " "


def test_only_the_assistant_is_continued() -> None:
    answer = make_api().chat(continue_final_message=True)
    assert (answer.status, answer.error()["param"]) == (400, "messages[0].role")
    answer = make_api().chat(add_generation_prompt=False)
    assert (answer.status, answer.error()["param"]) == (400, "add_generation_prompt")


def test_what_the_template_reads_reaches_it(monkeypatch: pytest.MonkeyPatch) -> None:
    template = "{{ reasoning_effort }} {{ enable_thinking }} {{ messages[0].reasoning_content }}"
    monkeypatch.setattr(make_tokenizer(infill=False), "chat_template", template)
    api = make_api()
    answer = api.chat(
        messages=[{"role": "assistant", "content": "a", "reasoning_content": "why"}],
        reasoning_effort="low",
        chat_template_kwargs={"enable_thinking": False, "colour": 1},
    )
    assert answer.status == 200
    assert prompt_of(api) == "low False why"
    assert answer.headers["x-ignored-parameters"] == "chat_template_kwargs.colour"
    for unread in ({"chat_template_kwargs": {"colour": 1}}, {"reasoning_effort": "low"}):
        monkeypatch.setattr(make_tokenizer(infill=False), "chat_template", "{{ messages }}")
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], **unread}
        refused = api.call("POST", "/v1/chat/completions", body, **{"x-strict": "1"})
        assert refused.status == 400
        assert refused.error()["param"] in ("chat_template_kwargs.colour", "reasoning_effort")
    answer = api.chat(chat_template_kwargs={"messages": []})
    assert (answer.status, answer.error()["param"]) == (400, "chat_template_kwargs.messages")
