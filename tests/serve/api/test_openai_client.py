"""The official client against a real server."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from liveweights.serve.api.settings import ApiSettings

from .doubles import BASE, Api, make_api
from .servers import serving

HI: list[Any] = [{"role": "user", "content": "hi"}]


@pytest.fixture
def api() -> Api:
    return make_api("hello", pause=lambda: asyncio.sleep(0))


@pytest.fixture
def client(api: Api) -> Iterator[OpenAI]:
    with serving(api.app) as url, OpenAI(base_url=url, api_key="any", max_retries=0) as client:
        yield client


def test_completions(client: OpenAI, api: Api) -> None:
    completion = client.completions.create(model="tiny", prompt="say:", logprobs=1, seed=3)
    assert completion.choices[0].text == "hello"
    assert completion.choices[0].finish_reason == "stop"
    assert completion.choices[0].logprobs is not None
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 6
    assert completion.id == api.recorder.only().id
    assert completion.system_fingerprint == BASE
    assert completion.model_extra == {"checkpoint": BASE}


def test_streamed_completions(client: OpenAI, api: Api) -> None:
    stream = client.completions.create(
        model="tiny", prompt="say:", stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == "hello"
    assert {chunk.id for chunk in chunks} == {api.recorder.only().id}
    assert all((chunk.model_extra or {})["checkpoint"] == BASE for chunk in chunks)
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 10


def test_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=HI, logprobs=True, top_logprobs=2, max_completion_tokens=4
    )
    choice = answer.choices[0]
    assert choice.message.content == "hell"
    assert choice.finish_reason == "length"
    assert choice.logprobs is not None
    assert len(choice.logprobs.content or []) == 4
    again: list[Any] = [*HI, choice.message, *HI]
    assert client.chat.completions.create(model="tiny", messages=again).id.startswith("gen_")


def test_the_clients_stream_helper_puts_the_message_together(client: OpenAI) -> None:
    with client.chat.completions.stream(model="tiny", messages=HI) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == "hello"
    assert final.choices[0].message.role == "assistant"
    assert final.choices[0].finish_reason == "stop"


def test_headers_carry_the_ids(client: OpenAI, api: Api) -> None:
    response = client.chat.completions.with_raw_response.create(model="tiny", messages=HI)
    assert response.headers["x-generation-id"] == response.parse().id == api.recorder.only().id
    assert response.headers["x-checkpoint"] == BASE


def test_extra_headers_and_metadata_reach_the_record(client: OpenAI, api: Api) -> None:
    client.chat.completions.create(
        model="tiny",
        messages=HI,
        user="ada",
        metadata={"session": "s", "language": "python"},
        extra_headers={"x-surface": "editor", "x-training-consent": "no"},
        extra_body={"top_k": 5},
    )
    generation = api.recorder.only()
    assert (generation.user, generation.session) == ("ada", "s")
    assert (generation.language, generation.surface) == ("python", "editor")
    assert generation.consent is False
    assert api.engine.calls[0][2].top_k == 5


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    model = client.models.retrieve("tiny")
    assert model.owned_by == "liveweights"
    assert model.to_dict()["capabilities"]["chat"] is True  # type: ignore[index]
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("none")
    assert caught.value.code == "model_not_found"


def test_errors_are_the_clients_own(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="none", prompt="a")
    assert (missing.value.code, missing.value.param) == ("model_not_found", "model")
    with pytest.raises(openai.BadRequestError) as suffix:
        client.completions.create(
            model="tiny", prompt="a", suffix="b", extra_headers={"x-strict": "1"}
        )
    assert suffix.value.param == "suffix"
    with pytest.raises(openai.BadRequestError) as long:
        client.completions.create(model="tiny", prompt="a" * 600)
    assert long.value.code == "context_length_exceeded"
    with pytest.raises(openai.BadRequestError, match="unheard"):
        client.completions.create(
            model="tiny", prompt="a", extra_body={"unheard": 1}, extra_headers={"x-strict": "1"}
        )
    with pytest.raises(openai.APIStatusError) as large:
        client.completions.create(model="tiny", prompt="a" * 3_000_000)
    assert large.value.status_code == 413


def test_what_is_left_out_is_named(client: OpenAI) -> None:
    answer = client.chat.completions.with_raw_response.create(
        model="tiny",
        messages=[
            {"role": "user", "content": "Hello"},
            {"role": "assistant", "content": None, "audio": None, "function_call": None},
            {"role": "user", "content": "Again"},
        ],
        presence_penalty=0.5,
        reasoning_effort="low",
        verbosity="low",
        prediction={"type": "content", "content": "a"},
        extra_body={"chat_template_kwargs": {"enable_thinking": False}, "min_p": 0.1},
    )
    assert answer.parse().choices[0].message.content
    named = set(answer.headers["x-ignored-parameters"].split(", "))
    assert named == {
        "verbosity", "prediction", "reasoning_effort",
        "chat_template_kwargs.enable_thinking",
    }  # fmt: skip


def test_unknown_keys_are_refused() -> None:
    api = make_api(settings=ApiSettings(keys={"right-0123456789": "acme"}))
    with serving(api.app) as url:
        with pytest.raises(openai.AuthenticationError):
            OpenAI(base_url=url, api_key="wrong", max_retries=0).models.list()
        assert OpenAI(base_url=url, api_key="right-0123456789").models.list().data


def test_an_engine_that_breaks_mid_stream_is_an_error_of_the_client() -> None:
    api = make_api("hello", fail_at=2)
    with serving(api.app) as url:
        client = OpenAI(base_url=url, api_key="any", max_retries=0)
        stream = client.chat.completions.create(model="tiny", messages=HI, stream=True)
        with pytest.raises(openai.APIError, match="the engine broke down"):
            list(stream)


def test_feedback_follows_by_the_same_client(client: OpenAI, api: Api) -> None:
    completion = client.completions.create(model="tiny", prompt="say:")
    body = {"generation": completion.id, "signal": "thumbs", "value": "up", "id": "f1"}
    created: Any = client.post("/feedback", body=body, cast_to=object)
    assert created["generation"] == completion.id
    assert api.recorder.feedback["default", "f1"].value == 1.0


def test_a_client_that_leaves_stops_the_engine() -> None:
    entered, api = threading.Event(), make_api("x" * 400)

    async def pause() -> None:
        if api.engine.yielded >= 5:
            entered.set()
            await asyncio.Event().wait()

    api.engine.pause = pause
    with serving(api.app) as url:
        client = OpenAI(base_url=url, api_key="any", max_retries=0)
        stream = client.completions.create(model="tiny", prompt="say:", max_tokens=400, stream=True)
        next(iter(stream))
        assert entered.wait(30)
        stream.close()
        client.close()
        for _ in range(1000):
            if api.recorder.generations:
                break
            time.sleep(0.01)
        generation = api.recorder.only()
        assert (generation.finish_reason, generation.output) == ("cancelled", "xxxxx")
        assert (api.engine.open, api.router.in_use(BASE)) == (0, 0)


def test_many_async_clients_at_once(api: Api) -> None:
    async def scenario(url: str) -> None:
        async with AsyncOpenAI(base_url=url, api_key="any", max_retries=0) as client:

            async def streamed() -> tuple[str, str]:
                stream = await client.chat.completions.create(
                    model="tiny", messages=HI, stream=True
                )
                chunks = [chunk async for chunk in stream]
                assert len({chunk.id for chunk in chunks}) == 1
                return chunks[0].id, "".join(c.choices[0].delta.content or "" for c in chunks)

            async def whole() -> tuple[str, str]:
                answer = await client.completions.create(model="tiny", prompt="say:")
                return answer.id, answer.choices[0].text

            answers = await asyncio.gather(*(way() for _ in range(20) for way in (streamed, whole)))
            assert {text for _, text in answers} == {"hello"}
            assert {id for id, _ in answers} == set(api.recorder.generations)

    with serving(api.app) as url:
        asyncio.run(scenario(url))


def test_a_stored_response_tells_what_it_was_asked_with(client: OpenAI) -> None:
    asked: Any = [{"role": "user", "content": str(n)} for n in range(3)]
    asked[1]["id"] = "msg_mine"
    answer = client.responses.create(model="tiny", input=asked)
    pages = client.responses.input_items.list(answer.id, order="asc", limit=2)
    assert [item.content[0].text for item in pages] == ["0", "1", "2"]  # type: ignore[union-attr]
    newest = client.responses.input_items.list(answer.id, limit=2)
    assert newest.has_more is True
    assert [item.id for item in newest.data][1] == "msg_mine"
    assert len({item.id for item in client.responses.input_items.list(answer.id)}) == 3
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.input_items.list(answer.id, after="msg_none")
    assert caught.value.code == "item_not_found"
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.input_items.list("resp_none")
    assert caught.value.code == "response_not_found"
    client.responses.delete(answer.id)


def test_what_cannot_be_done_with_a_stored_response_is_refused(client: OpenAI) -> None:
    answer = client.responses.create(model="tiny", input="hi")
    with pytest.raises(openai.BadRequestError, match="in the background"):
        client.responses.cancel(answer.id)
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.retrieve(answer.id, stream=True)
    assert caught.value.param == "stream"
    assert client.responses.retrieve(answer.id, stream=False).id == answer.id
