"""Which block of a key-value cache holds what, so that prompts that begin alike share blocks.

A block is the keys and values of so many tokens. Whole blocks are known by their tokens and by the
block before them, as in vLLM's prefix cache (W. Kwon et al., arXiv 2309.06180, section 4.3).
"""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Sequence

_Key = tuple[int, tuple[int, ...]]
"""The block before (-1 for none) and the tokens."""


class Row:
    """The blocks of one sequence, in order, and the tokens [T] that they hold."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.blocks: list[int] = []
        self.whole = 0
        """Blocks, the first ones, that others may share."""


class Blocks:
    """``count`` blocks of ``size`` tokens.

    A block is free, held by rows, or kept: whole, held by none, for a prompt to come. Where no
    block is free, the one that was kept longest without use is taken.
    """

    def __init__(self, count: int, size: int) -> None:
        self.size = size
        self._free = list(range(count))  # a heap: those that were written before come first
        self._holders = [0] * count
        self._key: dict[int, _Key] = {}
        self._found: dict[_Key, int] = {}
        self._after: dict[int, set[int]] = {}
        """Whole blocks whose key names a block."""
        self._kept: OrderedDict[int, None] = OrderedDict()

    @property
    def kept(self) -> int:
        return len(self._kept)

    @property
    def free(self) -> int:
        return len(self._free)

    def begin(self, ids: Sequence[int]) -> Row:
        """A row that holds the beginning of ``ids`` that is known; one token at least is left."""
        row = Row()
        for block in self.find(ids):
            self._hold(block)
            row.blocks.append(block)
        row.whole = len(row.blocks)
        row.ids += ids[: row.whole * self.size]
        return row

    def find(self, ids: Sequence[int]) -> list[int]:
        """The blocks that hold the beginning of ``ids``; one token at least is left."""
        blocks: list[int] = []
        before = -1
        for end in range(self.size, len(ids), self.size):
            block = self._found.get((before, tuple(ids[end - self.size : end])))
            if block is None:
                break
            blocks.append(block)
            before = block
        return blocks

    def reserve(self, row: Row, length: int) -> None:
        """Give ``row`` blocks for ``length`` tokens in all. Raises MemoryError, with the row as it
        was, where all blocks are held."""
        missing = -(-length // self.size) - len(row.blocks)
        if missing > len(self._free) + len(self._kept):
            raise MemoryError("all blocks of the key-value cache are in use")
        for _ in range(missing):
            block = heapq.heappop(self._free) if self._free else self._take_kept()
            self._holders[block] = 1
            row.blocks.append(block)

    def write(self, row: Row, ids: Sequence[int]) -> None:
        """``ids`` were computed behind what ``row`` holds, in the blocks that it has."""
        row.ids += ids
        while (row.whole + 1) * self.size <= len(row.ids):
            start = row.whole * self.size
            before = row.blocks[row.whole - 1] if row.whole else -1
            key = (before, tuple(row.ids[start : start + self.size]))
            # Where another row computed the same at the same time, its block is the known one,
            # and what follows ours is known by ours.
            block = row.blocks[row.whole]
            if key not in self._found:
                self._found[key] = block
                self._key[block] = key
                if before >= 0:
                    self._after.setdefault(before, set()).add(block)
            row.whole += 1

    def end(self, row: Row) -> None:
        """Let go of the row's blocks, the last ones first: they are of use to the fewest."""
        for block in reversed(row.blocks):
            self._holders[block] -= 1
            if self._holders[block]:
                continue
            if block in self._key:
                self._kept[block] = None
            else:
                self._forget(block)
                heapq.heappush(self._free, block)
        row.blocks, row.ids, row.whole = [], [], 0

    def _hold(self, block: int) -> None:
        self._kept.pop(block, None)
        self._holders[block] += 1

    def _take_kept(self) -> int:
        block, _ = self._kept.popitem(last=False)
        self._forget(block)
        return block

    def _forget(self, block: int) -> None:
        """What follows is found through ``block`` only, whose tokens will be others."""
        key = self._key.pop(block, None)
        if key is not None:
            del self._found[key]
            self._after.get(key[0], set[int]()).discard(block)
        for after in self._after.pop(block, set[int]()):
            del self._found[self._key.pop(after)]
            if after in self._kept:
                del self._kept[after]
                heapq.heappush(self._free, after)
                self._forget(after)
