"""What is known of a request that passes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from liveweights.http.errors import ApiError
from liveweights.serve.gateway.counts import asked_text
from liveweights.serve.gateway.question import CHATS, COMPLETIONS, RESPONSES, read_question

OWN = {"temperature": 1.0, "top_p": 1, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
"""What has to be asked for by name: servers have defaults of their own."""


def is_plain(asked: dict[str, Any]) -> bool:
    return read_question(json.dumps(asked).encode(), CHATS).plain


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"frequency_penalty": 0, "typical_p": 1, "top_k": 0},
        {"typical_p": None, "logit_bias": {}, "response_format": {"type": "text"}},
        {"tool_choice": "auto", "repetition_penalty": None, "repeat_penalty": 1.0, "stop": ["a"]},
    ],
)
def test_the_models_own_distribution_is_drawn_from(asked: dict[str, Any]) -> None:
    assert is_plain(OWN | asked)


@pytest.mark.parametrize("left_out", OWN)
def test_what_is_left_to_the_upstream_is_not_known(left_out: str) -> None:
    asked = {name: value for name, value in OWN.items() if name != left_out}
    assert not is_plain(asked)
    assert not is_plain(OWN | {left_out: None})
    assert not is_plain({})


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
    assert not is_plain(OWN | asked)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"3", b"\xff", b"\xef\xbb\xbf{}", b'{"x": NaN}', b'{"x": -Infinity}'),
        *(b'{"seed": 1e999}', b'{"typical_p": 1e999}', b'{"x": "\\ud83d}', b"\x1f\x8b\x08"),
        *("{}".encode("utf-16"), b'{"x": ' + b"[" * 99_999 + b"]" * 99_999 + b"}"),
    ],
)
def test_what_cannot_be_read_is_refused(body: bytes) -> None:
    with pytest.raises(ApiError) as refused:
        read_question(body, CHATS)
    assert refused.value.status == 400


def test_half_of_a_surrogate_pair_is_read() -> None:
    question = read_question(rb'{"prompt": "cut \ud83d", "user": "\ud83d\ude00 \ude00"}', CHATS)
    assert json.loads(question.prompt_json()) == {"prompt": "cut \ufffd"}
    assert question.user == "\U0001f600 \ufffd"
    assert question.count_prompt(len) == len("cut \ufffd")


def test_a_number_beyond_all_bounds_in_a_message_is_counted_as_it_is_written() -> None:
    question = read_question(b'{"messages": [{"content": "hi", "x": 1e999}]}', CHATS)
    assert question.count_prompt(len) == len(question.prompt_json())


@pytest.mark.parametrize("value", [True, 1, "true", "no", {}])
def test_nothing_is_answered_in_the_background(value: Any) -> None:
    body = json.dumps({"background": value}).encode()
    with pytest.raises(ApiError, match="background") as refused:
        read_question(body, RESPONSES).check()
    assert (refused.value.status, refused.value.param) == (400, "background")
    for path in (CHATS, COMPLETIONS):  # where it means nothing
        read_question(body, path).check()


@pytest.mark.parametrize("body", [b"{}", b'{"background": false}', b'{"background": null}'])
def test_what_is_not_in_the_background_is_answered(body: bytes) -> None:
    read_question(body, RESPONSES).check()


@pytest.mark.parametrize(
    ("path", "asked", "limit", "choices"),
    [
        (CHATS, {"max_completion_tokens": 1, "max_tokens": 9}, 9, 1),
        (CHATS, {"max_output_tokens": 1}, 0, 1),
        (CHATS, {"max_tokens": 1, "n_predict": -1}, 0, 1),
        (CHATS, {"max_tokens": 5, "n": 2000}, 5, 2000),
        (CHATS, {"prompt": ["a", "b"]}, 0, 1),
        (RESPONSES, {"max_output_tokens": 7, "max_tokens": 1}, 7, 1),
        (COMPLETIONS, {"max_completion_tokens": 1, "max_tokens": 1000}, 1000, 1),
        (COMPLETIONS, {"max_completion_tokens": 1}, 0, 1),
        (COMPLETIONS, {"prompt": ["a"] * 200, "n": 2}, 0, 400),
        (COMPLETIONS, {"prompt": [[1, 2], [3]], "best_of": 5, "n": 1}, 0, 10),
        (COMPLETIONS, {"prompt": [1, 2, 3]}, 0, 1),
    ],
)
def test_what_counts_on_that_path(path: str, asked: Any, limit: int, choices: int) -> None:
    question = read_question(json.dumps(asked).encode(), path)
    assert (question.limit, question.choices) == (limit, choices)


@pytest.mark.parametrize(
    "prompt", [[5] * 100, [[5] * 60, [6] * 40], [5, *["word"] * 25, *[6] * 74]]
)
def test_token_ids_are_tokens_of_the_prompt(prompt: Any) -> None:
    body = json.dumps({"prompt": prompt}).encode()
    assert read_question(body, COMPLETIONS).count_prompt(lambda text: len(text.split())) == 100


def test_a_text_that_looks_like_data_is_counted() -> None:
    said = "data:" + " word" * 99
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    content = [{"type": "text", "text": said}, picture]
    for messages in ([{"content": said}], [{"content": content}], [{"content": [said]}]):
        body = json.dumps({"messages": messages}).encode()
        counted = read_question(body, CHATS).count_prompt(lambda text: text.count(" word"))
        assert counted == 99
        assert "base64" not in asked_text(json.dumps({"messages": messages}))
