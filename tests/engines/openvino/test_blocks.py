"""Blocks that rows share must hold what each row computed."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.engines.openvino.blocks import Blocks, Row

SIZE = 4


class Cache:
    """What a real cache would hold: a token's value follows from all tokens up to it."""

    def __init__(self, count: int) -> None:
        self.blocks = Blocks(count, SIZE)
        self.values: dict[tuple[int, int], int] = {}

    def begin(self, ids: list[int]) -> Row:
        row = self.blocks.begin(ids)
        assert len(row.ids) < len(ids)
        assert row.ids == ids[: len(row.ids)]
        return row

    def compute(self, row: Row, ids: list[int], keep: int) -> None:
        """Write ``ids`` behind the row and keep the first ``keep`` of them."""
        self.blocks.reserve(row, len(row.ids) + len(ids))
        whole = [*row.ids, *ids]
        for place in range(len(row.ids), len(whole)):
            where = (row.blocks[place // SIZE], place % SIZE)
            self.values[where] = hash(tuple(whole[: place + 1]))
        self.blocks.write(row, ids[:keep])

    def check(self, row: Row) -> None:
        for place in range(len(row.ids)):
            where = (row.blocks[place // SIZE], place % SIZE)
            assert self.values[where] == hash(tuple(row.ids[: place + 1]))


@given(seed=st.integers(0, 1 << 32))
def test_each_row_finds_what_it_computed(seed: int) -> None:
    dice = random.Random(seed)
    rows_at_once, longest = 3, 30
    count = rows_at_once * (-(-longest // SIZE)) + dice.randrange(6)
    cache = Cache(count)
    rows: list[Row] = []
    for _ in range(80):
        if rows and dice.random() < 0.3:
            cache.blocks.end(rows.pop(dice.randrange(len(rows))))
        elif len(rows) < rows_at_once and dice.random() < 0.5:
            ids = [dice.randrange(2) for _ in range(dice.randrange(1, 20))]
            row = cache.begin(ids)
            rows.append(row)
            cache.compute(row, ids[len(row.ids) :], len(ids))
        for row in rows:
            if len(row.ids) < longest - 3:
                more = [dice.randrange(2) for _ in range(dice.randrange(1, 4))]
                cache.compute(row, more, dice.randrange(len(more) + 1))
        for row in rows:
            cache.check(row)
    for row in rows:
        cache.blocks.end(row)
    assert cache.blocks.free + cache.blocks.kept == count


def test_a_prompt_goes_on_from_whole_blocks() -> None:
    cache = Cache(8)
    row = cache.begin([*range(10)])
    cache.compute(row, [*range(10)], 10)
    cache.blocks.end(row)
    assert cache.begin([*range(9), 77]).ids == [*range(8)]
    assert cache.begin([*range(8)]).ids == [*range(4)]  # one token is left to compute
    assert cache.begin([5, *range(9)]).ids == []


def test_what_was_used_longest_ago_goes_first() -> None:
    cache = Cache(4)
    for first in (10, 20):
        row = cache.begin([first] * 8)
        cache.compute(row, [first] * 8, 8)
        cache.blocks.end(row)
    cache.blocks.end(cache.begin([10] * 9))  # used again
    row = cache.begin([30] * 5)
    cache.compute(row, [30] * 5, 5)
    cache.blocks.end(row)
    assert len(cache.begin([10] * 9).ids) == 8
    assert len(cache.begin([20] * 9).ids) == 0


def test_full_is_full() -> None:
    blocks = Blocks(3, SIZE)
    held, other = Row(), Row()
    blocks.reserve(held, 8)
    with pytest.raises(MemoryError):
        blocks.reserve(other, 5)
    assert other.blocks == []
    blocks.reserve(other, 4)
