"""What editors send to llama.cpp's server, they may send here."""

from __future__ import annotations

import json
from typing import Any

import pytest

from liveweights.serve.api.settings import ApiSettings

from .doubles import BASE, Answer, Api, make_api, make_tokenizer

# As llama.vscode 0.0.x asks for a completion.
ASKED: dict[str, Any] = {
    "input_prefix": "def area(width, height):\n",
    "input_suffix": "\nprint(area(1, 2))\n",
    "input_extra": [{"filename": "a.py", "text": "x = 1"}],
    "prompt": "    return ",
    "n_predict": 5,
    "top_k": 40,
    "top_p": 0.99,
    "stream": False,
    "n_indent": 4,
    "samplers": ["top_k", "top_p", "infill"],
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 1000,
    "response_fields": ["content"],
}


def infill(api: Api, **more: Any) -> Answer:
    headers = more.pop("headers", {})
    return api.call("POST", "/infill", ASKED | more, **headers)


def test_the_middle_is_filled_in() -> None:
    api, tokenizer = make_api("hello", infill=True), make_tokenizer(infill=True)
    answer = infill(api)
    body, row = answer.json(), api.recorder.only()
    assert (body["content"], body["stop"], body["stop_type"]) == ("hello", True, "limit")
    assert (body["generation"], body["checkpoint"], body["model"]) == (row.id, BASE, "tiny")
    assert tokenizer.decode(api.engine.calls[-1][1]) == (
        "<fim_prefix>a.py\nx = 1\n\ndef area(width, height):\n    return <fim_suffix>"
        "\nprint(area(1, 2))\n<fim_middle>"
    )
    named = set(answer.headers["x-ignored-parameters"].split(", "))
    assert named == {
        "n_indent", "samplers", "cache_prompt", "t_max_prompt_ms", "t_max_predict_ms",
        "response_fields",
    }  # fmt: skip


def test_penalties_are_followed() -> None:
    api = make_api("hello", infill=True)
    answer = infill(api, min_p=0.1, presence_penalty=0.5, top_k=-1)
    assert "min_p" not in answer.headers["x-ignored-parameters"]
    how = api.engine.calls[-1][2]
    assert (how.min_p, how.presence_penalty, how.top_k, how.top_p) == (0.1, 0.5, 0, 0.99)
    api = make_api("hello", infill=True, guided=False)
    answer = infill(api, min_p=0.1)
    assert "min_p" in answer.headers["x-ignored-parameters"]


def test_streams() -> None:
    api = make_api("hello", infill=True)
    *events, rest = infill(api, stream=True, n_predict=20).body.decode().split("\n\n")
    said = [json.loads(event.removeprefix("data: ")) for event in events]
    assert rest == ""
    assert "".join(event["content"] for event in said) == "hello"
    assert [event["stop"] for event in said] == [False] * (len(said) - 1) + [True]
    assert said[-1]["generation"] == api.recorder.only().id


def test_a_model_without_such_tokens_goes_on_with_what_stands_before() -> None:
    api = make_api("hello")
    answer = infill(api)
    assert answer.status == 200
    assert make_tokenizer().decode(api.engine.calls[-1][1]).endswith("return")
    assert api.engine.calls[-1][2].skip == " "
    named = answer.headers["x-ignored-parameters"]
    assert "input_suffix" in named
    assert "input_extra" in named
    known = {name: ASKED[name] for name in ("input_prefix", "input_suffix", "prompt")}
    refused = api.call("POST", "/infill", known, **{"x-strict": "1"})
    assert (refused.status, refused.error()["param"]) == (400, "input_suffix")


def test_warming_the_cache_costs_nothing() -> None:
    api = make_api("hello", infill=True)
    answer = infill(api, n_predict=0)
    body = {"content": "", "stop": True, "tokens_predicted": 0, "tokens_evaluated": 0}
    assert answer.json() == body | {"stop_type": "limit"}
    assert "n_indent" in answer.headers["x-ignored-parameters"]
    assert not api.engine.calls


def test_other_files_that_do_not_fit_are_left_out_the_oldest_first() -> None:
    api = make_api("hello", infill=True, context_length=600)
    extra = [{"filename": f"{n}.py", "text": "x" * 120} for n in range(5)]
    assert infill(api, input_extra=extra).status == 200
    prompt = make_tokenizer(infill=True).decode(api.engine.calls[-1][1])
    assert [n for n in range(5) if f"{n}.py" in prompt] == [3, 4]


def test_models_say_how_much_they_take() -> None:
    (model,) = make_api(context_length=777).call("GET", "/v1/models").json()["data"]
    assert model["context_length"] == model["max_model_len"] == 777


def test_head_and_options() -> None:
    api = make_api()
    assert api.call("HEAD", "/v1/models").status == 200
    answer = api.call("OPTIONS", "/v1/models")
    assert (answer.status, answer.headers["allow"]) == (204, "GET, HEAD, OPTIONS")


@pytest.mark.parametrize("origin", ["https://app.example.com", "https://evil.example.com"])
def test_pages_of_declared_sites_may_call(origin: str) -> None:
    api = make_api(settings=ApiSettings(origins=["https://app.example.com"]))
    ask = {"origin": origin, "access-control-request-method": "POST"}
    allowed = origin == "https://app.example.com"
    preflight = api.call(
        "OPTIONS", "/v1/completions", None, **ask,
        **{"access-control-request-headers": "authorization,content-type"},
    )  # fmt: skip
    assert (preflight.status == 200) == allowed
    answer = api.call("GET", "/v1/models", None, origin=origin)
    assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
    assert (
        "access-control-allow-origin"
        not in make_api().call("GET", "/v1/models", None, origin=origin).headers
    )


# As Continue asks a server of its provider "openai" for a completion: the template is the editor's,
# and so are the stop strings (core/llm/llms/OpenAI.ts, core/autocomplete/templating).
CONTINUE: dict[str, Any] = {
    "model": "tiny",
    "max_tokens": 64,
    "temperature": 0.01,
    "stream": True,
    "stop": [
        *("<fim_prefix>", "<fim_suffix>", "<fim_middle>", "<file_sep>", "<|endoftext|>"),
        *("/src/", "#- coding: utf-8", "```", "\n\n", "\r\n\r\n", "\ndef", "\nclass"),
    ],
    "prompt": "<fim_prefix>def area(w, h):\n    return <fim_suffix>\n<fim_middle>",
}


def test_an_editors_own_template_and_stops() -> None:
    api = make_api("w * h\n\nprint()", infill=True)
    headers = {"authorization": "Bearer any", "api_key": "any"}
    answer = api.call("POST", "/v1/completions", CONTINUE, **headers)
    said = "".join(event["choices"][0]["text"] for event in answer.events())
    assert (answer.status, said) == (200, "w * h")
    assert "x-ignored-parameters" not in answer.headers
    tokenizer = make_tokenizer(infill=True)
    (_, ids, _) = api.engine.calls[-1]
    for name in ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"):
        assert ids.count(tokenizer.convert_tokens_to_ids(name)) == 1


@pytest.mark.parametrize("infill", [True, False])
def test_what_stands_after_is_told_to_a_model_that_can(infill: bool) -> None:
    """As Tabby asks a server of its kind "openai/completion"
    (crates/http-api-bindings/src/completion/openai.rs)."""
    asked = {
        "model": "tiny",
        "prompt": "def area(w, h):\n    return ",
        "suffix": "\n\nprint()",
        "max_tokens": 64,
        "temperature": 0.1,
        "stream": True,
        "presence_penalty": 0.0,
    }
    api = make_api("w * h", infill=infill)
    answer = api.call("POST", "/v1/completions", asked, authorization="Bearer any")
    assert answer.status == 200, answer.body
    assert "".join(event["choices"][0]["text"] for event in answer.events()) == "w * h"
    assert answer.headers.get("x-ignored-parameters") == (None if infill else "suffix")
    told = make_tokenizer(infill=infill).decode(api.engine.calls[-1][1])
    assert ("print()" in told) == infill
