"""How many weights the tensors of a ternary checkpoint hold, and what they take in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable


def value_count(shapes: Iterable[tuple[str, tuple[int, ...]]]) -> int:
    """Weights in tensors of those names and shapes (see ``layout``); scales are not counted."""
    return sum(_values(name.rpartition(".")[2], shape) for name, shape in shapes)


def _values(leaf: str, shape: tuple[int, ...]) -> int:
    match leaf:
        case "scales":
            return 0
        case "codes":
            return math.prod(shape) * 4
        case "trits":
            return shape[0] * (shape[1] * 5 // 64 * 64)  # rows are multiples of 64
        case _:
            return math.prod(shape)


def memory_bytes(shapes: Iterable[tuple[str, tuple[int, ...]]], width: int) -> int:
    """Bytes of tensors of those names and shapes once they are loaded: two bits for each ternary
    weight, two bytes for each scale, ``width`` bytes for any other value."""
    return sum(_bytes(name.rpartition(".")[2], shape, width) for name, shape in shapes)


def _bytes(leaf: str, shape: tuple[int, ...], width: int) -> int:
    match leaf:
        case "scales":
            return math.prod(shape) * 2
        case "codes" | "trits":
            return _values(leaf, shape) // 4
        case _:
            return math.prod(shape) * width
