from __future__ import annotations

import asyncio
from typing import Any

import pytest

from liveweights.serve.api.settings import ApiSettings

from .doubles import BASE, make_api, make_tokenizer


def usage_of(prompt: int, completion: int) -> dict[str, Any]:
    """Of an answer without a price."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    }


def test_answers_and_records_the_same_thing() -> None:
    api = make_api("hello")
    answer = api.complete("say: ", seed=7, temperature=0.5, top_p=0.9, user="u", max_tokens=9)
    body, generation = answer.json(), api.recorder.only()
    assert answer.status == 200
    assert body["object"] == "text_completion"
    assert body["model"] == "tiny"
    assert body["choices"] == [
        {
            "index": 0,
            "text": "hello",
            "logprobs": None,
            "finish_reason": "stop",
            "generation": generation.id,
        }
    ]
    assert body["id"] == generation.id == answer.headers["x-generation-id"]
    assert body["checkpoint"] == generation.checkpoint == answer.headers["x-checkpoint"] == BASE
    assert body["system_fingerprint"] == BASE
    assert generation.output == "hello"
    assert len(generation.output_ids) == len(generation.logprobs) == len(" hello") + 1
    assert set(generation.logprobs) == {-0.25}
    assert set(generation.raw_logprobs) == {-0.5}
    assert body["usage"] == usage_of(4, 7)
    assert (generation.seed, generation.temperature, generation.top_p) == (7, 0.5, 0.9)
    assert (generation.user, generation.max_tokens, generation.healed) == ("u", 9, " ")
    assert generation.total_ms >= generation.first_token_ms > 0


def test_a_top_p_of_0_leaves_the_most_likely_token() -> None:
    api = make_api("hello")
    assert api.complete("say: ", temperature=0.7, top_p=0, user="").status == 200
    generation = api.recorder.only()
    assert (generation.temperature, generation.top_p, generation.user) == (0.0, 1.0, None)


def test_the_prompt_is_healed() -> None:
    api = make_api("hello")
    api.complete("x = ")
    _, prompt_ids, sampling = api.engine.calls[0]
    assert make_tokenizer().decode(prompt_ids) == "x ="
    assert sampling.skip == " "


def test_silence_is_an_answer() -> None:
    api = make_api("")
    body = api.complete().json()
    assert body["choices"][0]["text"] == ""
    assert body["choices"][0]["finish_reason"] == "stop"
    assert api.recorder.only().output == ""


def test_length_is_told_from_stop() -> None:
    api = make_api("hello")
    choice = api.complete("say:", max_tokens=2).json()["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("he", "length")
    assert api.recorder.only().finish_reason == "length"


def test_the_default_limit_is_openais() -> None:
    api = make_api("x" * 50)
    body = api.call("POST", "/v1/completions", {"model": "tiny", "prompt": "a"}).json()
    assert body["choices"][0]["text"] == "x" * 16


@pytest.mark.parametrize("stop", ["\n", ["\n"], ["#", "\n"]])
def test_stops_before_a_stop_string(stop: Any) -> None:
    choice = make_api("one\ntwo").complete(stop=stop).json()["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("one", "stop")


def test_takes_token_ids() -> None:
    api = make_api()
    for prompt in ([1, 2, 3], [[1, 2, 3]]):
        assert api.complete(prompt).status == 200
        assert api.engine.calls[-1][1] == [1, 2, 3]
        assert api.engine.calls[-1][2].skip == ""
    assert api.complete(["abc"]).status == 200


def test_logprobs_are_given_for_every_sampled_token() -> None:
    logprobs = make_api("né").complete("say:", logprobs=2).json()["choices"][0]["logprobs"]
    assert logprobs["tokens"] == ["n", "\ufffd", "\ufffd", "<|im_end|>"]
    assert logprobs["token_logprobs"] == [-0.5] * 4
    assert logprobs["text_offset"] == [0, 1, 1, 2]
    tops = [list(top.values()) for top in logprobs["top_logprobs"]]
    assert tops == [[-1.0, -2.0]] * 4


def test_streams() -> None:
    api = make_api("hello")
    answer = api.complete(stream=True)
    events, generation = answer.events(), api.recorder.only()
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-generation-id"] == generation.id
    assert answer.headers["x-checkpoint"] == BASE
    assert "".join(event["choices"][0]["text"] for event in events) == "hello"
    reasons = [event["choices"][0]["finish_reason"] for event in events]
    assert reasons == [None] * (len(events) - 1) + ["stop"]
    for event in events:
        assert event["id"] == generation.id
        assert event["checkpoint"] == event["system_fingerprint"] == BASE
        assert event["object"] == "text_completion"
        assert "usage" not in event


def test_streams_a_chunk_per_visible_token() -> None:
    assert len(make_api("hello").complete("say:", stream=True).events()) == len("hello") + 1


def test_streams_silence() -> None:
    api = make_api("")
    (event,) = api.complete("say:", stream=True).events()
    assert event["choices"][0] == {
        "index": 0,
        "text": "",
        "logprobs": None,
        "finish_reason": "stop",
        "generation": api.recorder.only().id,
    }


def test_streams_usage_when_asked() -> None:
    answer = make_api("hi").complete("say:", stream=True, stream_options={"include_usage": True})
    *events, last = answer.events()
    assert all(event["usage"] is None for event in events)
    assert last["choices"] == []
    assert last["usage"] == usage_of(4, 3)


def test_streams_the_logprobs_that_are_given_otherwise() -> None:
    api = make_api("né")
    whole = api.complete("say:", logprobs=1).json()["choices"][0]["logprobs"]
    events = api.complete("say:", logprobs=1, stream=True).events()
    for name in whole:
        streamed = [item for event in events for item in event["choices"][0]["logprobs"][name]]
        assert streamed == whole[name]


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"echo": True}, "echo"),
        ({"suffix": "end"}, "suffix"),
        ({"n": 0}, "n"),
        ({"n": 17}, "n"),
        ({"best_of": 3}, "best_of"),
        ({"frequency_penalty": 2.5}, "frequency_penalty"),
        ({"presence_penalty": -3}, "presence_penalty"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"min_p": 1.5}, "min_p"),
        ({"logit_bias": {"5": 101}}, "logit_bias[...]"),
        ({"logit_bias": {"999999": 1}}, "logit_bias"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": ["a", ""]}, "prompt"),
        ({"prompt": [1, [2]]}, "prompt[0]"),
        ({"prompt": [[1], [-2]]}, "prompt[1][0]"),
        ({"prompt": ["a"] * 65}, "prompt"),
        ({"prompt": [1, -1]}, "prompt[1]"),
        ({"prompt": [10**30]}, "prompt[0]"),
        ({"prompt": None}, "prompt"),
        ({"prompt": True}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "many"}, "max_tokens"),
        ({"max_tokens": 10**30}, "max_tokens"),
        ({"temperature": 2.5}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"top_p": -0.1}, "top_p"),
        ({"seed": 2**63}, "seed"),
        ({"stop": list("a" * 33)}, "stop"),
        ({"stop": ""}, "stop"),
        ({"stop": [""]}, "stop[0]"),
        ({"logprobs": 21}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"user": "a\0b"}, "user"),
        ({"metadata": {"a": 1}}, "metadata[...]"),
        ({"metadata": {"training": "perhaps"}}, "metadata.training"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"model": ""}, "model"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_refuses_by_name(parameters: dict[str, Any], param: str) -> None:
    api = make_api(settings=ApiSettings(strict=True))
    answer = api.complete(**{"prompt": "a"} | parameters)
    assert answer.status == 400
    assert answer.error()["param"] == param
    assert answer.error()["type"] == "invalid_request_error"
    assert not api.engine.calls
    assert api.router.in_use(BASE) == 0


def test_takes_neutral_and_harmless_parameters() -> None:
    answer = make_api().complete(
        n=1,
        best_of=1,
        echo=False,
        suffix=None,
        frequency_penalty=0,
        presence_penalty=0.0,
        logit_bias={},
        store=False,
        service_tier="auto",
        safety_identifier="x",
        prompt_cache_key="y",
        temperature=None,
        top_p=None,
        stop=None,
        seed=None,
        stream=None,
        logprobs=None,
    )
    assert answer.status == 200


def test_unknown_models_are_404() -> None:
    answer = make_api().complete(model="gpt-4")
    assert answer.status == 404
    assert answer.error()["code"] == "model_not_found"
    assert answer.error()["param"] == "model"


def test_too_long_prompts_say_so() -> None:
    api = make_api(context_length=20)
    for parameters in ({"prompt": "x" * 21, "max_tokens": 1}, {"prompt": "xx", "max_tokens": 19}):
        answer = api.complete(**parameters)
        assert answer.status == 400
        assert answer.error()["code"] == "context_length_exceeded"
    assert api.complete("x" * 10, max_tokens=10).status == 200


def test_long_prompts_are_tokenized_alike() -> None:
    api = make_api(context_length=50_000)
    assert api.complete("x" * 40_000).status == 200
    assert len(api.engine.calls[0][1]) == 40_000


def test_a_suffix_is_used_by_a_model_that_can() -> None:
    api = make_api(infill=True)
    assert api.complete("def f(", suffix="):\n").status == 200
    _, ids, sampling = api.engine.calls[0]
    told = make_tokenizer(infill=True).decode(ids)
    assert told == "<fim_prefix>def f(<fim_suffix>):\n<fim_middle>"
    assert sampling.skip == ""
    assert api.complete([1], suffix="x").error()["param"] == "prompt"


@pytest.mark.parametrize(("asked", "taken"), [(None, 1), (0, 0), (1e-300, 0), (0.01, 0.01), (2, 2)])
def test_the_temperature_that_is_taken_is_recorded(asked: Any, taken: float) -> None:
    api = make_api()
    api.complete(temperature=asked)
    assert api.engine.calls[0][2].temperature == api.recorder.only().temperature == taken


@pytest.mark.parametrize(
    ("asked", "known"),
    [
        ({}, {"stop": []}),
        ({"stop": "\n\n"}, {"stop": ["\n\n"]}),
        (
            {"stop": ["a", "b"], "logit_bias": {"3": 1}, "frequency_penalty": 0},
            {"stop": ["a", "b"], "guided_by": ["logit_bias"]},
        ),
    ],
)
def test_what_shaped_an_answer_is_recorded(asked: Any, known: Any) -> None:
    api = make_api()
    assert api.complete(**asked).status == 200
    assert api.recorder.only().shaping == known


def test_several_choices_are_several_generations() -> None:
    api = make_api("hello")
    answer = api.complete("say:", n=3, best_of=3, seed=2**63 - 1)
    body, kept = answer.json(), api.recorder.generations
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2]
    ids = [choice["generation"] for choice in body["choices"]]
    assert set(ids) == set(kept)
    assert body["id"] == ids[0]
    assert answer.headers["x-generation-id"] == ", ".join(ids)
    assert [kept[id].seed for id in ids] == [2**63 - 1, -(2**63), -(2**63) + 1]
    assert body["usage"] == usage_of(4, 18)


def test_a_header_names_no_more_answers_than_clients_take() -> None:
    api = make_api("hello")
    answer = api.complete(["say:"] * 8, n=16)
    assert len(answer.json()["choices"]) == 128
    assert "x-generation-id" not in answer.headers
    assert sum(len(name) + len(value) for name, value in answer.headers.items()) < 8000
    named = api.complete(["say:"] * 6, n=16).headers["x-generation-id"]
    assert named.count("gen_") == 96


def test_several_prompts_are_answered_in_order() -> None:
    api = make_api("hello")
    body = api.complete(["a ", "bc"], n=2).json()
    # The record adds up to what the answer says: each prompt once.
    counted = [
        (
            row.usage.get("prompt_tokens", len(row.prompt_ids)),
            row.usage.get("completion_tokens", len(row.output_ids)),
        )
        for row in api.recorder.generations.values()
    ]
    said = body["usage"]
    assert [sum(column) for column in zip(*counted, strict=True)] == [
        said["prompt_tokens"],
        said["completion_tokens"],
    ]
    assert [choice["index"] for choice in body["choices"]] == [0, 1, 2, 3]
    prompts = [
        make_tokenizer().decode(api.recorder.generations[choice["generation"]].prompt_ids)
        for choice in body["choices"]
    ]
    assert prompts == ["a", "a", "bc", "bc"]
    assert body["usage"]["prompt_tokens"] == 3


def test_several_choices_stream_side_by_side() -> None:
    api = make_api("hello", pause=lambda: asyncio.sleep(0))
    answer = api.complete(n=3, stream=True, stream_options={"include_usage": True}, logprobs=1)
    *events, usage = answer.events()
    texts, ends = ["", "", ""], {}
    for event in events:
        (choice,) = event["choices"]
        texts[choice["index"]] += choice["text"]
        if choice["finish_reason"]:
            assert choice["generation"] in api.recorder.generations
            ends[choice["index"]] = choice["generation"]
    assert texts == ["hello"] * 3
    assert set(ends.values()) == set(api.recorder.generations)
    assert usage["usage"]["completion_tokens"] == 21
    order = [event["choices"][0]["index"] for event in events]
    assert order != sorted(order)


@pytest.mark.parametrize("stream", [True, False])
def test_one_choice_that_breaks_ends_all(stream: bool) -> None:
    api = make_api("hello", pause=lambda: asyncio.sleep(0), fail_at=3)
    answer = api.complete(n=3, stream=stream)
    if stream:
        assert answer.events()[-1]["error"]["code"] == "engine_unavailable"
    else:
        assert answer.status == 503
    assert api.engine.open == 0


def test_a_bias_reaches_the_engine() -> None:
    api = make_api()
    assert api.complete(logit_bias={"5": 1.5, "7": -100}).status == 200
    assert api.engine.calls[0][2].logit_bias == ((5, 1.5), (7, -100.0))


@pytest.mark.parametrize("guided", [True, False])
def test_penalties_are_for_engines_that_follow_them(guided: bool) -> None:
    asked = {
        "frequency_penalty": 0.5,
        "presence_penalty": -1,
        "repetition_penalty": 1.2,
        "min_p": 0.1,
    }
    api = make_api(guided=guided)
    answer = api.complete("a", **asked)
    assert answer.status == 200
    sampling = api.engine.calls[-1][2]
    found = {name: getattr(sampling, name) for name in asked}
    if guided:
        assert found == asked
        assert "x-ignored-parameters" not in answer.headers
    else:
        assert list(found.values()) == [0.0, 0.0, 1.0, 0.0]
        assert answer.headers["x-ignored-parameters"] == ", ".join(asked)


def test_an_engine_that_follows_some_gets_these() -> None:
    api = make_api()
    api.engine.guidance = frozenset({"min_p"})
    answer = api.complete("a", min_p=0.1, presence_penalty=0.5)
    assert answer.headers["x-ignored-parameters"] == "presence_penalty"
    how = api.engine.calls[-1][2]
    assert (how.min_p, how.presence_penalty) == (0.1, 0.0)
