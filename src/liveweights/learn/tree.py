"""Prefix-tree packing: rows that share a prompt prefix share its computation.

The requests of one session repeat nearly all of each other's prompt. Inserted into a prefix
tree, every distinct (prefix, token) is one node; flattened parents-first, one forward pass
with an ancestor mask computes for each node exactly what a causal pass over its own path
would. Losses and gradients are those of the rows one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Path:
    """A row to pack: the model reads ``prompt_ids`` and is scored on ``answer_ids``."""

    prompt_ids: Sequence[int]
    answer_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Tree:
    """N nodes, parents before children, and the T answer tokens of its rows.

    ``token_N``, ``depth_N`` (position ids), ``parent_N`` (-1 for a root). Answer token t of the
    pack is predicted at node ``reader_T[t]`` and is ``target_T[t]``; it belongs to the pack's
    row ``row_T[t]``, in order.
    """

    token_N: NDArray[np.int64]
    depth_N: NDArray[np.int64]
    parent_N: NDArray[np.int64]
    reader_T: NDArray[np.int64]
    target_T: NDArray[np.int64]
    row_T: NDArray[np.int64]

    def mask_NN(self) -> NDArray[np.bool_]:
        """``mask[i, j]``: node i attends to node j, that is, j is i or an ancestor of i."""
        size = len(self.token_N)
        mask = np.zeros((size, size), dtype=np.bool_)
        for node, parent in enumerate(self.parent_N):
            if parent >= 0:
                mask[node] = mask[parent]
            mask[node, node] = True
        return mask


class TreeBuilder:
    """Grows a tree row by row; ``cost`` tells beforehand how many nodes a row would add."""

    def __init__(self) -> None:
        self._children: list[dict[int, int]] = []
        self._roots: dict[int, int] = {}
        self._token: list[int] = []
        self._depth: list[int] = []
        self._parent: list[int] = []
        self._reader: list[int] = []
        self._target: list[int] = []
        self._row: list[int] = []
        self._rows = 0

    def __len__(self) -> int:
        return len(self._token)

    def cost(self, path: Path) -> int:
        """Nodes that ``path`` would add. The last answer token is read by nobody: it is free."""
        fed = [*path.prompt_ids, *path.answer_ids[:-1]]
        level = self._roots
        for shared, token in enumerate(fed):
            if token not in level:
                return len(fed) - shared
            level = self._children[level[token]]
        return 0

    def add(self, path: Path) -> None:
        """Raises ValueError for an empty prompt or answer."""
        if not path.prompt_ids or not path.answer_ids:
            raise ValueError("a path needs at least one prompt token and one answer token")
        node, level = -1, self._roots
        first_reader = len(path.prompt_ids) - 1
        readers: list[int] = []
        for place, token in enumerate([*path.prompt_ids, *path.answer_ids[:-1]]):
            child = level.get(token)
            if child is None:
                child = len(self._token)
                level[token] = child
                self._token.append(token)
                self._depth.append(place)
                self._parent.append(node)
                self._children.append({})
            node, level = child, self._children[child]
            if place >= first_reader:
                readers.append(node)
        self._reader.extend(readers)
        self._target.extend(path.answer_ids)
        self._row.extend([self._rows] * len(readers))
        self._rows += 1

    def build(self) -> Tree:
        def array(values: list[int]) -> NDArray[np.int64]:
            return np.asarray(values, dtype=np.int64)

        return Tree(
            token_N=array(self._token),
            depth_N=array(self._depth),
            parent_N=array(self._parent),
            reader_T=array(self._reader),
            target_T=array(self._target),
            row_T=array(self._row),
        )


def pack(paths: Sequence[Path], budget: int) -> list[list[int]]:
    """Group neighbouring rows into trees of at most ``budget`` nodes (one row may exceed it).

    Rows that should share must be neighbours (sort by session, then time). Returns the indices
    of each group; every index occurs once.
    """
    groups: list[list[int]] = []
    builder = TreeBuilder()
    for index, path in enumerate(paths):
        if not groups or len(builder) + builder.cost(path) > budget:
            groups.append([])
            builder = TreeBuilder()
        builder.add(path)
        groups[-1].append(index)
    return groups
