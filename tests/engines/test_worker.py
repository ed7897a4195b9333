from __future__ import annotations

import queue
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
import torch

from liveweights.engines.decoder import Outputs
from liveweights.engines.protocol import EngineError, Sampling, Token
from liveweights.engines.text import TextStream
from liveweights.engines.worker import Answer, Group, Worker

SEEN = 100
"""Tokens that every prompt begins with, and that are computed already."""


class Counting:
    """A decoder whose next token is always 1, and which notes each pass: ``(rows, prompts)``."""

    prompt_tokens = 64
    takes_guesses = False

    def __init__(self, beside: bool) -> None:
        self.takes_prompts_beside = beside
        self.passes: list[tuple[int, int]] = []
        self.rows = 0
        self._given = 0

    @property
    def joined(self) -> list[int]:
        return [prompts for _, prompts in self.passes if prompts]

    def left(self, ids: Sequence[int]) -> int:
        return len(ids) - SEEN

    def forward(
        self, ids: Sequence[Sequence[int]], prompts: Sequence[Sequence[int]] = ()
    ) -> Outputs:
        assert len(ids) in {0, self.rows}
        self.passes.append((len(ids), len(prompts)))
        self.rows += len(prompts)
        self._given = len(ids)
        total = len(ids) + len(prompts)
        return Outputs(torch.tensor([[0.0, 9.0]]).repeat(total, 1), [None] * total)

    def advance(self, counts: Sequence[int]) -> None:
        assert list(counts) == [1] * self._given

    def leave(self, row: int) -> None:
        self.rows -= 1

    def clear(self) -> None:
        self.rows = 0


def serve(
    prompts: Sequence[int], tokenizer: Any, rows: int = 8, beside: bool = False
) -> tuple[Counting, list[Any]]:
    """Answers of two tokens to prompts of so many tokens."""
    decoder = Counting(beside)
    group = Group(decoder, rows, 0, lambda: None)
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    for length in prompts:
        text = TextStream(tokenizer)
        how = Sampling(max_tokens=2, temperature=0.0)
        ids = [0] * length
        group.waiting.append(Answer("c", decoder, ids, how, text, frozenset(), told.put))
    while group.answers:
        group.step()
    return decoder, [told.get() for _ in range(told.qsize())]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("seed", [-1, -(2**63), 2**63 - 1])
def test_any_seed_of_64_bits_is_one(tokenizer: Any, seed: int, temperature: float) -> None:
    decoder, told = Counting(beside=False), queue.SimpleQueue[Any]()
    group = Group(decoder, 1, 0, lambda: None)
    how = Sampling(max_tokens=1, temperature=temperature, seed=seed)
    text = TextStream(tokenizer)
    group.waiting.append(Answer("c", decoder, [0] * SEEN, how, text, frozenset(), told.put))
    group.step()
    assert isinstance(told.get(timeout=60), Token)


def test_prompts_join_together_by_what_is_left_to_compute(tokenizer: Any) -> None:
    decoder, told = serve([SEEN + 20] * 4, tokenizer)
    assert decoder.joined == [3, 1]  # 64 tokens of a pass take three
    assert len(told) == 8
    assert all(isinstance(item, Token) for item in told)
    assert decoder.rows == 0


def test_a_prompt_longer_than_a_pass_goes_alone(tokenizer: Any) -> None:
    assert serve([SEEN + 90, SEEN + 1, SEEN + 2], tokenizer)[0].joined == [1, 2]


def test_no_more_answers_than_rows(tokenizer: Any) -> None:
    assert max(serve([SEEN + 1] * 5, tokenizer, rows=2)[0].joined) == 2


def test_prompts_are_computed_beside_the_tokens_of_others_where_that_costs_less(
    tokenizer: Any,
) -> None:
    prompts = [SEEN + 60] * 3  # one in a pass
    apart, told = serve(prompts, tokenizer)
    assert apart.passes == [(0, 1), (1, 0), (0, 1), (1, 0), (0, 1), (1, 0)]
    together, same = serve(prompts, tokenizer, beside=True)
    assert together.passes == [(0, 1), (1, 1), (1, 1), (1, 0)]
    assert len(told) == len(same) == 6


class Panic(BaseException):
    """What a panic of a library in Rust arrives as."""


class Failing(Counting):
    """A decoder of which one method raises, the second time or later, while ``broken``."""

    def __init__(self, method: str, error: BaseException) -> None:
        super().__init__(beside=False)
        self._method, self._error = method, error
        self.broken = True
        self.calls = 0

    def _maybe(self, method: str) -> None:
        if method == self._method and self.broken:
            self.calls += 1
            if self.calls > 1:
                raise self._error

    def left(self, ids: Sequence[int]) -> int:
        self._maybe("left")
        return super().left(ids)

    def forward(
        self, ids: Sequence[Sequence[int]], prompts: Sequence[Sequence[int]] = ()
    ) -> Outputs:
        self._maybe("forward")
        return super().forward(ids, prompts)

    def advance(self, counts: Sequence[int]) -> None:
        self._maybe("advance")
        super().advance(counts)

    def leave(self, row: int) -> None:
        self._maybe("leave")
        super().leave(row)


class Stuck(Failing):
    """A decoder that cannot be cleared either."""

    def clear(self) -> None:
        raise self._error


def ask(worker: Worker, decoder: Counting, tokenizer: Any, most: int) -> queue.SimpleQueue[Any]:
    """An answer's tokens, or what ended it, as they come."""
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    how = Sampling(max_tokens=most, temperature=0.0)
    text = TextStream(tokenizer)
    worker.submit(Answer("c", decoder, [0] * SEEN, how, text, frozenset(), told.put))
    return told


def last_of(told: queue.SimpleQueue[Any]) -> Any:
    while True:
        item = told.get(timeout=60)
        if not isinstance(item, Token) or item.stop:
            return item


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), Panic("a library")])
@pytest.mark.parametrize("method", ["left", "forward", "advance", "leave"])
def test_what_a_decoder_raises_ends_its_answers_and_no_others(
    method: str, error: BaseException, tokenizer: Any
) -> None:
    decoder = Failing(method, error)
    worker = Worker(1, 4, 0, lambda: None)
    told = [ask(worker, decoder, tokenizer, most) for most in (2, 3, 10**6)]
    ends = [last_of(one) for one in told]
    assert isinstance(ends[2], EngineError)
    assert str(error) in str(ends[2])
    assert all(one.empty() for one in told)  # none is told of two ends
    decoder.broken = False
    assert isinstance(last_of(ask(worker, decoder, tokenizer, 3)), Token)
    worker.close()


def test_a_thread_that_ends_leaves_nobody_waiting(tokenizer: Any) -> None:
    decoder = Stuck("advance", RuntimeError("the device is lost"))
    worker = Worker(1, 1, 0, lambda: None)
    told = [ask(worker, decoder, tokenizer, 10**6)]
    with suppress(EngineError):  # it may have ended already
        for _ in range(3):
            told.append(ask(worker, Counting(beside=False), tokenizer, 10**6))
    for one in told:
        assert isinstance(last_of(one), EngineError)
    while worker.call(lambda: None):  # it ends once it has told them
        time.sleep(0.01)
    with pytest.raises(EngineError, match="the device is lost"):
        ask(worker, decoder, tokenizer, 1)
    assert worker.active("c") == 0
    worker.close()


def test_a_closed_worker_ends_what_is_open_and_refuses_more(tokenizer: Any) -> None:
    worker = Worker(1, 1, 0, lambda: None)
    told = [ask(worker, Counting(beside=False), tokenizer, 10**6) for _ in range(3)]
    worker.close()
    assert all("closed" in str(last_of(one)) for one in told)
    with pytest.raises(EngineError, match="closed"):
        ask(worker, Counting(beside=False), tokenizer, 1)
