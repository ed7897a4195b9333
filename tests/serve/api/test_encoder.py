from __future__ import annotations

import asyncio
import json
import threading
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AddedToken

from liveweights.http.errors import ApiError
from liveweights.meter.settings import RateLimits
from liveweights.serve.api import encoder as module
from liveweights.serve.api import messages
from liveweights.serve.api.encoder import Encoder
from liveweights.serve.api.settings import ApiSettings
from liveweights.serve.api.tokenization import INLINE_CHARACTERS

from .doubles import Api, make_api, make_tokenizer

LONG = INLINE_CHARACTERS + 1
KEYS = {"one-0123456789-a": "one", "two-0123456789-a": "two"}


class Counting:
    """Counts the characters that are tokenized; each is a token, ``longest`` as vocabulary says.
    Texts that begin with ``wait`` wait for ``go``."""

    def __init__(self, longest: int = 1) -> None:
        self.read: list[str] = []
        self.go = threading.Event()
        self.chat_template = None
        self._longest = longest

    def __len__(self) -> int:
        return 1

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        self.read.append(text[:4])
        if text.startswith("wait"):
            assert self.go.wait(60)
        return [0] * len(text)

    def decode(self, token_ids: Any, *, skip_special_tokens: bool = False) -> str:
        return ""

    def get_vocab(self) -> dict[str, int]:
        return {"x" * self._longest: 0}


@given(st.text(max_size=300), st.integers(1, 300))
def test_a_text_is_refused_by_its_length_only_where_it_cannot_fit(text: str, context: int) -> None:
    tokenizer = make_tokenizer()
    encoder = Encoder(tokenizer, context)
    count = len(tokenizer.encode(text, add_special_tokens=False))
    if count < context:
        assert encoder.fewest(len(text), "prompt") <= count
    else:
        with suppress(ApiError):
            encoder.fewest(len(text), "prompt")


def test_what_cannot_fit_is_not_read() -> None:
    tokenizer = Counting(longest=10)
    encoder = Encoder(tokenizer, 1000)
    with pytest.raises(ApiError, match="1000 tokens, but the prompt alone has 10000 or more"):
        asyncio.run(encoder.encode_text("a" * 100_000, "t"))
    assert not tokenizer.read


def test_of_what_hardly_fits_the_beginning_is_read_first() -> None:
    tokenizer = Counting(longest=100)
    encoder = Encoder(tokenizer, 3000)
    with pytest.raises(ApiError) as caught:
        asyncio.run(encoder.encode_text("a" * 200_000, "t"))
    assert caught.value.code == "context_length_exceeded"
    assert len(tokenizer.read) == 1


def test_tenants_take_turns_in_threads_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "THREADS", 1)
    tokenizer = Counting()
    encoder = Encoder(tokenizer, 10**6)

    async def scenario() -> None:
        async with asyncio.timeout(60):
            first = asyncio.create_task(encoder.encode_text("wait" + "a" * LONG, "crowd"))
            while not tokenizer.read:
                await asyncio.sleep(0.001)
            crowd = [
                asyncio.create_task(encoder.encode_text("more" + "a" * LONG, "crowd"))
                for _ in range(5)
            ]
            await asyncio.sleep(0)
            other = asyncio.create_task(encoder.encode_text("mine" + "a" * LONG, "other"))
            await asyncio.sleep(0)
            assert await asyncio.to_thread(lambda: 1) == 1  # other threads are for others
            assert (
                await encoder.encode_text("short", "other") == [0] * 5
            )  # and what is short waits not
            tokenizer.go.set()
            await asyncio.gather(first, other, *crowd)
        long = [text for text in tokenizer.read if text != "shor"]
        assert long.index("mine") == 2

    asyncio.run(scenario())


def test_who_leaves_does_not_free_a_thread_that_still_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "THREADS", 1)
    monkeypatch.setattr(module, "WAITING", 1)
    tokenizer = Counting()
    encoder = Encoder(tokenizer, 10**6)

    async def scenario() -> None:
        async with asyncio.timeout(60):
            for _ in range(3):
                left = asyncio.create_task(encoder.encode_text("wait" + "a" * LONG, "t"))
                await asyncio.sleep(0.02)
                left.cancel()
            waiting = asyncio.create_task(encoder.encode_text("next" + "a" * LONG, "t"))
            await asyncio.sleep(0.02)
            with pytest.raises(ApiError) as caught:
                await encoder.encode_text("full" + "a" * LONG, "t")
            assert caught.value.status == 429
            tokenizer.go.set()
            await waiting
        assert tokenizer.read == ["wait", "next"]

    asyncio.run(scenario())


class Marked(Counting):
    """With a control token; it knows in which thread each text was read."""

    def __init__(self) -> None:
        super().__init__()
        self.added_tokens_decoder = {0: AddedToken("<|end|>", special=True)}
        self.threads: set[int] = set()

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        if text:
            self.threads.add(threading.get_ident())
        return super().encode(text, add_special_tokens=add_special_tokens)


PASTED = ("a" * (INLINE_CHARACTERS - 100) + "<|end|>") * 20


def read_pasted(encoder: Encoder, how: str) -> list[int]:
    if how == "text":
        return asyncio.run(encoder.encode_text(PASTED, "t"))
    hidden = encoder.control.hidden()
    return asyncio.run(encoder.encode_said(hidden.hide(PASTED), hidden, "t"))


@pytest.mark.parametrize("how", ["text", "said"])
def test_a_long_text_is_read_in_a_thread_however_many_pieces_it_has(how: str) -> None:
    tokenizer = Marked()
    ids = read_pasted(Encoder(tokenizer, 10**6), how)
    assert len(ids) == len(PASTED)
    assert threading.get_ident() not in tokenizer.threads


@pytest.mark.parametrize("how", ["text", "said"])
def test_nothing_more_is_read_once_the_context_is_full(how: str) -> None:
    tokenizer = Marked()
    tokenizer.get_vocab = lambda: {"x" * 100: 0}
    with pytest.raises(ApiError) as caught:
        read_pasted(Encoder(tokenizer, 3 * INLINE_CHARACTERS), how)
    assert caught.value.code == "context_length_exceeded"
    long = [text for text in tokenizer.read if text == "aaaa"]
    assert len(long) == 4  # the fourth was one too many


def ask(api: Api, path: str, body: dict[str, Any], key: str = "one-0123456789-a") -> Any:
    return api.call("POST", path, {"model": "tiny"} | body, authorization=f"Bearer {key}")


TOO_LONG: list[tuple[str, dict[str, Any], str]] = [
    ("/v1/completions", {"prompt": "a" * 300_000}, "prompt"),
    ("/v1/completions", {"prompt": ["a", "b" * 300_000]}, "prompt[1]"),
    ("/v1/completions", {"prompt": [1] * 100_000}, "prompt"),
    ("/v1/completions", {"prompt": [[1], [1] * 100_000]}, "prompt[1]"),
    ("/v1/completions", {"prompt": "a", "suffix": "a" * 300_000}, "suffix"),
    (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": "a" * 300_000}]},
        "messages",
    ),
    (
        "/v1/chat/completions",
        {"messages": [{"role": "user", "content": ""}] * 5000},
        "messages",
    ),
    ("/v1/responses", {"input": "a" * 300_000}, "input"),
]


@pytest.mark.parametrize(("path", "body", "param"), TOO_LONG)
def test_every_prompt_is_refused_by_its_length(
    path: str, body: dict[str, Any], param: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = make_api(settings=ApiSettings(keys=KEYS), infill=True)

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("it was read")

    monkeypatch.setattr(type(api.engine.tokenizer), "encode", never)
    answer = ask(api, path, body)
    assert answer.status == 400, answer.body
    error = answer.error()
    assert (error["code"], error["param"]) == ("context_length_exceeded", param)
    assert str(api.engine.context_length) in error["message"]


def thread_of_reading(api: Api, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Threads in which texts of some length were tokenized, and conversations taken apart."""
    threads: list[int] = []
    tokenizer = type(api.engine.tokenizer)
    encode: Any = tokenizer.encode
    take_apart = messages.conversation

    def watched(self: Any, text: str, **more: Any) -> Any:
        if len(text) > 50:
            threads.append(threading.get_ident())
        return encode(self, text, **more)

    def taken_apart(*given: Any) -> Any:
        threads.append(threading.get_ident())
        return take_apart(*given)

    monkeypatch.setattr(tokenizer, "encode", watched)
    monkeypatch.setattr(messages, "conversation", taken_apart)
    return threads


CALLING = {
    "id": "c",
    "type": "function",
    "function": {"name": "f", "arguments": json.dumps({"a": "b" * INLINE_CHARACTERS})},
}
LONG_TOGETHER: list[tuple[str, dict[str, Any]]] = [
    ("/v1/completions", {"prompt": ["a" * 300] * 60}),
    ("/v1/completions", {"prompt": ["a" * 100] * 60, "suffix": "b" * 200}),
    (
        "/v1/chat/completions",
        {
            "messages": [
                {"role": "user", "content": "a"},
                {"role": "assistant", "tool_calls": [CALLING]},
            ]
        },
    ),
]


@pytest.mark.parametrize(("path", "body"), LONG_TOGETHER)
def test_what_is_long_together_is_read_in_a_thread(
    path: str, body: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    api = make_api(settings=ApiSettings(keys=KEYS), infill=True, context_length=40_000)
    threads = thread_of_reading(api, monkeypatch)
    answer = ask(api, path, body | {"max_tokens": 2})
    assert answer.status == 200, answer.body
    assert threads
    assert threading.get_ident() not in threads


def test_a_prompt_is_charged_at_the_door() -> None:
    limits = RateLimits(tokens_per_minute=900)
    api = make_api(settings=ApiSettings(keys=KEYS, limits=limits), context_length=600)
    spent = "a" * 599  # it is read, and then leaves no room for the answer
    for _ in range(2):
        answer = ask(api, "/v1/completions", {"prompt": spent, "max_tokens": 16})
        assert answer.error()["code"] == "context_length_exceeded"
    assert ask(api, "/v1/completions", {"prompt": "a"}).status == 429
    assert ask(api, "/v1/completions", {"prompt": "a"}, "two-0123456789-a").status == 200
    # What is refused unread is a request, and no tokens.
    whole = make_api(settings=ApiSettings(keys=KEYS, limits=limits), context_length=600)
    for _ in range(5):
        assert ask(whole, "/v1/completions", {"prompt": "a" * 99_999}).status == 400
    assert ask(whole, "/v1/completions", {"prompt": "a" * 500}).status == 200
    assert json.loads(whole.call("GET", "/healthz").body)["status"] == "ok"
