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
class TokenRow:
    """A row to pack: the model reads ``prompt_ids`` and is scored on ``answer_ids``."""

    prompt_ids: Sequence[int]
    answer_ids: Sequence[int]


@dataclass(frozen=True, slots=True)
class Tree:
    """N nodes, parents before children, and the T answer tokens of its rows.

    ``token_N``, ``depth_N`` (position ids), ``parent_N`` (-1 for a root). Answer token t of the
    pack is predicted at node ``reader_T[t]`` and is ``target_T[t]``; it belongs to the pack's
    row ``row_T[t]``, in order. ``nodes[row]`` are the nodes of the row's tokens, in order. Rows
    that share nothing may be trees of their own, from ``bounds[n]`` to ``bounds[n + 1]``.
    """

    token_N: NDArray[np.int64]
    depth_N: NDArray[np.int64]
    parent_N: NDArray[np.int64]
    reader_T: NDArray[np.int64]
    target_T: NDArray[np.int64]
    row_T: NDArray[np.int64]
    nodes: list[NDArray[np.int64]]
    bounds: NDArray[np.int64]

    def mask_NN(self, window: int | None = None) -> NDArray[np.bool_]:
        """``mask[i, j]``: node i attends to node j, that is, j is i or an ancestor of i, and
        with sliding-window attention less than ``window`` tokens before it."""
        size = len(self.token_N)
        mask = np.zeros((size, size), dtype=np.bool_)
        for node, parent in enumerate(self.parent_N):
            if parent >= 0:
                mask[node] = mask[parent]
            mask[node, node] = True
            if window is not None:  # what a node no longer sees, its children do not see either
                mask[node] &= self.depth_N > self.depth_N[node] - window
        return mask


class TreeBuilder:
    """Grows a tree row by row; ``cost`` tells beforehand how many nodes a row would add.

    Rows are numbered as they are added, unless they bring their numbers.
    """

    def __init__(self) -> None:
        self._children: list[dict[int, int]] = []
        self._roots: dict[int, int] = {}
        self._token: list[int] = []
        self._depth: list[int] = []
        self._parent: list[int] = []
        self._rows: dict[int, tuple[list[int], TokenRow]] = {}
        self._bounds = [0]

    def __len__(self) -> int:
        return len(self._token)

    def cost(self, path: TokenRow) -> int:
        """Nodes that ``path`` would add. The last answer token is read by nobody: it is free."""
        fed = [*path.prompt_ids, *path.answer_ids[:-1]]
        level = self._roots
        for shared, token in enumerate(fed):
            if token not in level:
                return len(fed) - shared
            level = self._children[level[token]]
        return 0

    def part(self) -> None:
        """Let the rows to come share nothing with those before: they are another tree."""
        self._roots = {}
        self._bounds.append(len(self))

    def add(self, path: TokenRow, row: int | None = None) -> None:
        """Raises ValueError for an empty prompt or answer."""
        if not path.prompt_ids or not path.answer_ids:
            raise ValueError("a path needs at least one prompt token and one answer token")
        node, level = -1, self._roots
        nodes: list[int] = []
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
            nodes.append(node)
        self._rows[len(self._rows) if row is None else row] = nodes, path

    def build(self) -> Tree:
        def array(values: list[int]) -> NDArray[np.int64]:
            return np.asarray(values, dtype=np.int64)

        rows = [self._rows[row] for row in sorted(self._rows)]
        return Tree(
            token_N=array(self._token),
            depth_N=array(self._depth),
            parent_N=array(self._parent),
            reader_T=array([n for nodes, p in rows for n in nodes[len(p.prompt_ids) - 1 :]]),
            target_T=array([target for _, path in rows for target in path.answer_ids]),
            row_T=array([row for row, (_, path) in enumerate(rows) for _ in path.answer_ids]),
            nodes=[array(nodes) for nodes, _ in rows],
            bounds=array([*self._bounds, len(self)]),
        )


def pack(paths: Sequence[TokenRow], budget: int, *, shared: bool = True) -> list[list[int]]:
    """Group neighbouring rows into trees of at most ``budget`` nodes (one row may exceed it), or,
    where nothing is ``shared``, into so many tokens of rows that are padded to the longest.

    Rows that should share must be neighbours (sort by session, then time). Returns the indices
    of each group; every index occurs once.
    """
    if not shared:
        return _pack_padded(paths, budget)
    groups: list[list[int]] = []
    builder = TreeBuilder()
    for index, path in enumerate(paths):
        if not groups or len(builder) + builder.cost(path) > budget:
            groups.append([])
            builder = TreeBuilder()
        builder.add(path)
        groups[-1].append(index)
    return groups


def _pack_padded(paths: Sequence[TokenRow], budget: int) -> list[list[int]]:
    groups: list[list[int]] = []
    width = 0
    for index, path in enumerate(paths):
        width = max(width, length := len(path.prompt_ids) + len(path.answer_ids) - 1)
        if not groups or (len(groups[-1]) + 1) * width > budget:
            groups.append([])
            width = length
        groups[-1].append(index)
    return groups


def split(paths: Sequence[TokenRow], size: int) -> list[list[int]]:
    """Divide one step's rows into trees that are better computed apart; every index once.

    A tree's mask lets attention compute every pair of its nodes, also of rows that share nothing.
    A row joins the tree that it shares at least half of itself with; one without such a tree
    joins the last one while that has less than ``size`` nodes, else begins a new one.
    """
    groups: list[list[int]] = []
    builders: list[TreeBuilder] = []
    for index, path in enumerate(paths):
        costs = [builder.cost(path) for builder in builders]
        place = costs.index(min(costs)) if costs else 0
        length = len(path.prompt_ids) + len(path.answer_ids) - 1
        if not costs or 2 * costs[place] > length:
            place = len(builders) - 1
            if not builders or len(builders[place]) >= size:
                place += 1
                builders.append(TreeBuilder())
                groups.append([])
        builders[place].add(path)
        groups[place].append(index)
    return groups
