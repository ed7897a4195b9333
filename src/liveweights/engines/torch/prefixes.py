"""Key-value caches that finished answers leave behind, for prompts that begin the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

FEWEST = 16
"""Shared tokens below which computing them again is as quick."""

Layers = list[tuple[Any, Any]]
"""Keys and values of each layer, [1, heads, T, head_dim]."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """``ids`` [T] and what one checkpoint computed for them."""

    ids: tuple[int, ...]
    layers: Layers

    @property
    def size(self) -> int:
        """In bytes."""
        return sum(t.element_size() * t.nelement() for pair in self.layers for t in pair)

    def copy(self) -> Prefix:
        """One whose layers are nobody else's."""
        return Prefix(self.ids, [(keys.clone(), values.clone()) for keys, values in self.layers])


class Prefixes:
    """The most recently used ones, of at most ``limit`` bytes together.

    Kept by checkpoint: another one's are never found, however alike the tokens.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: OrderedDict[tuple[str, tuple[int, ...]], Prefix] = OrderedDict()
        self.bytes = 0

    def find(self, checkpoint_id: str, ids: Sequence[int]) -> tuple[int, Layers]:
        """How many of ``ids`` some prefix begins with, and its layers, which may be longer.

        At least one token is left to compute. (0, []) where nothing is worth it.
        """
        longest, best = FEWEST - 1, None
        for key, prefix in self._kept.items():
            if key[0] == checkpoint_id:
                shared = _shared(prefix.ids, ids)
                if shared > longest:
                    longest, best = shared, key
        if best is None:
            return 0, []
        self._kept.move_to_end(best)
        return min(longest, len(ids) - 1), self._kept[best].layers

    def keep(self, checkpoint_id: str, prefix: Prefix) -> None:
        """Keep a copy of ``prefix`` in place of those that it goes on from; drop the least
        recently used. Nothing is copied of one that is larger than all may be together."""
        if prefix.size > self._limit:
            return
        for key in [k for k in self._kept if k[0] == checkpoint_id]:
            if _shared(key[1], prefix.ids) == len(key[1]):
                self._drop(key)
        while self.bytes + prefix.size > self._limit:
            self._drop(next(iter(self._kept)))
        self._kept[checkpoint_id, prefix.ids] = prefix.copy()
        self.bytes += prefix.size

    def drop(self, checkpoint_id: str) -> None:
        """Forget what a checkpoint computed."""
        for key in [k for k in self._kept if k[0] == checkpoint_id]:
            self._drop(key)

    def _drop(self, key: tuple[str, tuple[int, ...]]) -> None:
        self.bytes -= self._kept.pop(key).size


def _shared(one: Sequence[int], two: Sequence[int]) -> int:
    """Length of the common beginning."""
    for place, (a, b) in enumerate(zip(one, two, strict=False)):
        if a != b:
            return place
    return min(len(one), len(two))
