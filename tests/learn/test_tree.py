from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.learn.tree import TokenRow, TreeBuilder, pack, split

tokens = st.lists(st.integers(0, 2), min_size=1, max_size=6)
paths = st.lists(st.builds(TokenRow, tokens, tokens), min_size=1, max_size=8)


def build(rows: list[TokenRow]):
    builder = TreeBuilder()
    for row in rows:
        builder.add(row)
    return builder.build()


@given(paths)
def test_every_answer_token_is_read_behind_its_own_prefix(rows: list[TokenRow]) -> None:
    tree = build(rows)
    mask = tree.mask_NN()
    place = 0
    for number, row in enumerate(rows):
        whole = [*row.prompt_ids, *row.answer_ids]
        for offset, target in enumerate(row.answer_ids):
            node = tree.reader_T[place]
            seen = np.flatnonzero(mask[node])
            prefix = whole[: len(row.prompt_ids) + offset]
            assert tree.token_N[seen].tolist() == prefix
            assert tree.depth_N[seen].tolist() == list(range(len(prefix)))
            assert tree.target_T[place] == target
            assert tree.row_T[place] == number
            place += 1
    assert place == len(tree.target_T)


@given(paths, st.integers(1, 9))
def test_a_window_is_counted_in_the_nodes_own_rows(rows: list[TokenRow], window: int) -> None:
    tree = build(rows)
    near = tree.depth_N[:, None] - tree.depth_N[None, :] < window
    assert (tree.mask_NN(window) == tree.mask_NN() & near).all()


@given(paths)
def test_a_prefix_is_one_node(rows: list[TokenRow]) -> None:
    fed = {
        tuple([*row.prompt_ids, *row.answer_ids][: end + 1])
        for row in rows
        for end in range(len(row.prompt_ids) + len(row.answer_ids) - 1)
    }
    assert len(build(rows).token_N) == len(fed)


@given(paths, paths)
def test_parts_are_trees_side_by_side(rows: list[TokenRow], others: list[TokenRow]) -> None:
    builder = TreeBuilder()
    for number, row in enumerate(others):
        builder.add(row, len(rows) + number)
    builder.part()
    for number, row in enumerate(rows):
        builder.add(row, number)
    both, first, second = builder.build(), build(others), build(rows)
    size = len(first.token_N)
    assert both.bounds.tolist() == [0, size, len(both.token_N)]
    assert not both.mask_NN()[:size, size:].any()
    assert not both.mask_NN()[size:, :size].any()
    assert both.row_T.tolist() == [*second.row_T, *(first.row_T + len(rows))]
    assert both.target_T.tolist() == [*second.target_T, *first.target_T]
    assert both.reader_T.tolist() == [*(second.reader_T + size), *first.reader_T]
    for nodes, row in zip(both.nodes, [*rows, *others], strict=True):
        assert both.token_N[nodes].tolist() == [*row.prompt_ids, *row.answer_ids[:-1]]


@given(paths, st.integers(1, 30))
def test_packing_keeps_every_row_once_and_in_order(rows: list[TokenRow], budget: int) -> None:
    groups = pack(rows, budget)
    assert [index for group in groups for index in group] == list(range(len(rows)))
    for group in groups:
        if len(group) > 1:
            assert len(build([rows[i] for i in group]).token_N) <= budget


@given(paths, st.integers(1, 60))
def test_padded_rows_are_packed_by_what_they_take(rows: list[TokenRow], budget: int) -> None:
    groups = pack(rows, budget, shared=False)
    assert [index for group in groups for index in group] == list(range(len(rows)))
    for group in groups:
        widths = [len(rows[i].prompt_ids) + len(rows[i].answer_ids) - 1 for i in group]
        assert len(group) == 1 or len(group) * max(widths) <= budget


@given(paths, st.integers(1, 30))
def test_splitting_keeps_every_row_once(rows: list[TokenRow], size: int) -> None:
    groups = split(rows, size)
    assert sorted(index for group in groups for index in group) == list(range(len(rows)))
    assert all(group == sorted(group) for group in groups)


def test_rows_that_share_nothing_are_apart_from_a_size_on() -> None:
    rows = [
        TokenRow([1] * 9, [2]),
        TokenRow([3] * 9, [4]),
        TokenRow([1] * 9, [5]),
        TokenRow([6] * 9, [7]),
    ]
    assert split(rows, 5) == [[0, 2], [1], [3]]
    assert split(rows, 500) == [[0, 1, 2, 3]]


def test_an_empty_answer_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        TreeBuilder().add(TokenRow([1], []))
