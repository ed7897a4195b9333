"""Caches that prompts go on from."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from liveweights.engines.torch.prefixes import FEWEST, Prefix, Prefixes


def prefix(*ids: int) -> Prefix:
    """Its layers' first value says whose it is: 4 bytes a token, keys and values."""
    tensor = torch.tensor(ids, dtype=torch.float32).reshape(1, 1, -1, 1)
    return Prefix(ids, [(tensor, tensor)])


def found(layers: list[tuple[torch.Tensor, torch.Tensor]]) -> list[int]:
    return [int(value) for value in layers[0][0].flatten()] if layers else []


LONG = tuple(range(100, 140))


def test_the_longest_common_beginning_is_found() -> None:
    prefixes = Prefixes(1 << 20)
    prefixes.keep("a", prefix(*LONG[:20], 1, 2, 3))
    prefixes.keep("a", prefix(*LONG[:30], 7))
    shared, layers = prefixes.find("a", [*LONG, 5])
    assert shared == 30
    assert found(layers)[:30] == list(LONG[:30])
    assert prefixes.find("a", LONG[: FEWEST - 1]) == (0, [])


def test_one_token_is_left_to_compute() -> None:
    prefixes = Prefixes(1 << 20)
    prefixes.keep("a", prefix(*LONG))
    assert prefixes.find("a", LONG)[0] == len(LONG) - 1


def test_another_checkpoints_are_never_found() -> None:
    prefixes = Prefixes(1 << 20)
    prefixes.keep("a", prefix(*LONG))
    assert prefixes.find("b", LONG) == (0, [])
    prefixes.keep("b", prefix(*LONG, 1))
    prefixes.drop("a")
    assert prefixes.find("a", LONG) == (0, [])
    assert prefixes.find("b", LONG)[0] == len(LONG) - 1


def test_a_longer_one_replaces_what_it_goes_on_from() -> None:
    prefixes = Prefixes(1 << 20)
    prefixes.keep("a", prefix(*LONG[:20]))
    prefixes.keep("a", prefix(*LONG))
    assert prefixes.bytes == prefix(*LONG).size


def test_what_is_kept_is_a_copy() -> None:
    prefixes = Prefixes(1 << 20)
    row = prefix(*LONG)
    prefixes.keep("a", row)
    row.layers[0][0].zero_()
    assert found(prefixes.find("a", LONG)[1]) == list(LONG)


def test_nothing_is_copied_of_what_is_not_kept() -> None:
    copied: list[Prefix] = []

    class Watched(Prefix):
        def copy(self) -> Prefix:
            copied.append(self)
            return self

    row = prefix(*LONG)
    Prefixes(row.size - 1).keep("a", Watched(row.ids, row.layers))
    assert not copied


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=40), max_size=20))
def test_memory_is_bounded(many: list[list[int]]) -> None:
    prefixes = Prefixes(400)
    for ids in many:
        prefixes.keep("a", prefix(*ids))
        assert 0 <= prefixes.bytes <= 400
    prefixes.drop("a")
    assert prefixes.bytes == 0
