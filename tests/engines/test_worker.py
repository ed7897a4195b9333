from __future__ import annotations

import queue
from collections.abc import Sequence
from typing import Any

import torch

from liveweights.engines.decoder import Outputs
from liveweights.engines.protocol import Sampling, Token
from liveweights.engines.text import TextStream
from liveweights.engines.worker import Answer, Group

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
