"""What Open WebUI asks of a server (its backend/open_webui/routers/openai.py)."""

from __future__ import annotations

from typing import Any

from tests.serve.api.doubles import make_api

HEADERS = {
    "authorization": "Bearer any",
    "x_openwebui_user_name": "Ada",
    "x_openwebui_user_id": "17",
    "x_openwebui_user_role": "user",
}
MESSAGES = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "text": "Hello"}]},
    {"role": "assistant", "content": "Hi!"},
    {"role": "user", "content": "How are you?"},
]


def test_it_lists_the_models_and_verifies_the_connection() -> None:
    answer = make_api().call("GET", "/v1/models", **HEADERS)
    (model,) = answer.json()["data"]
    assert answer.status == 200
    assert model["id"] == "tiny"
    assert model.get("name") is not None or "name" not in model  # a null would be its name


def test_a_chat_is_streamed_with_its_usage() -> None:
    asked: dict[str, Any] = {
        "model": "tiny",
        "messages": MESSAGES,
        "stream": True,
        "stream_options": {"include_usage": True},
        "temperature": 0.8,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.05,
        "repeat_penalty": 1.1,
        "frequency_penalty": 0.1,
        "function_calling": "native",
        "reasoning_effort": "medium",
        "logit_bias": {},
        "stop": ["<|end|>"],
    }
    answer = make_api("I am well.").call("POST", "/v1/chat/completions", asked, **HEADERS)
    assert answer.status == 200
    events = answer.events()
    said = "".join(c["delta"].get("content") or "" for e in events for c in e["choices"])
    assert said == "I am well."
    assert events[-1]["usage"]["completion_tokens"] > 0
    ignored = answer.headers["x-ignored-parameters"]
    assert "function_calling" in ignored
    assert "min_p" not in ignored


def test_a_title_is_made_of_a_chat() -> None:
    asked = {
        "model": "tiny",
        "messages": [{"role": "user", "content": "### Task:\nGenerate a title."}],
        "stream": False,
        "max_completion_tokens": 1000,
    }
    answer = make_api('{"title": "Hello"}', context_length=4096).call(
        "POST", "/v1/chat/completions", asked, **HEADERS
    )
    assert answer.json()["choices"][0]["message"]["content"] == '{"title": "Hello"}'
