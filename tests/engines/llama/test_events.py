from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import msgspec
import pytest
from tests.serve.api.doubles import make_tokenizer
from transformers import AddedToken

from liveweights.engines.llama.events import Event, Scored, possible_ends, read_steps
from liveweights.engines.protocol import EngineError, Sampling, Token
from liveweights.engines.resumed import Interrupted, generate_resumed
from liveweights.engines.text import TextStream, special_ids

TOKENIZER = make_tokenizer()
TOKENIZER.add_tokens([AddedToken("<|file_sep|>", special=False)])
FILE_SEP = TOKENIZER.convert_tokens_to_ids("<|file_sep|>")
A, B = TOKENIZER.encode("a")[0], TOKENIZER.encode("b")[0]


def token(id: int) -> Event:
    return Event(tokens=[id], completion_probabilities=[Scored(id, -0.5)])


async def lines(*events: Event) -> AsyncGenerator[bytes]:
    for event in events:
        yield b"data: " + msgspec.json.encode(event) + b"\n"
        yield b"\n"


def answer(*events: Event, most: int = 9) -> list[Token]:
    """The tokens of an answer that llama.cpp tells so."""

    async def scenario() -> list[Token]:
        tokens = generate_resumed(
            "base",
            lambda done: read_steps(lines(*events), possible_ends(TOKENIZER), "base"),
            Sampling(max_tokens=most),
            TextStream(TOKENIZER),
            candidates=1,
        )
        async with aclosing(tokens):
            return [token async for token in tokens]

    return asyncio.run(scenario())


@pytest.mark.parametrize("end", [FILE_SEP, TOKENIZER.eos_token_id])
def test_a_token_that_llama_cpp_takes_for_the_end_is_one(end: int) -> None:
    told = answer(token(A), token(end), Event(stop=True, stop_type="eos"))
    assert [(one.id, one.text, one.stop) for one in told] == [(A, "a", None), (end, "", "stop")]


def test_elsewhere_it_is_text() -> None:
    stop = Event(stop=True, stop_type="limit")
    told = answer(token(FILE_SEP), token(B), token(FILE_SEP), stop, most=3)
    assert "".join(one.text for one in told) == "<|file_sep|>b<|file_sep|>"
    assert [one.stop for one in told] == [None, None, "length"]


def test_an_error_and_a_broken_stream() -> None:
    async def read(*events: Event) -> None:
        async for _ in read_steps(lines(*events), (), "base"):
            pass

    with pytest.raises(EngineError, match="no room"):
        asyncio.run(read(Event(error={"message": "no room"})))
    with pytest.raises(Interrupted):
        asyncio.run(read(token(A)))


def test_what_may_end_an_answer() -> None:
    ends = possible_ends(TOKENIZER)
    assert {*special_ids(TOKENIZER), FILE_SEP} <= ends
    assert not {A, B, *TOKENIZER.encode("<[>]")} & ends
