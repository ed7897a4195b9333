"""Which experts of a mixture computed an answer, and the bytes that they are kept as."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_HEAD = struct.Struct("<BIHH")


@dataclass(frozen=True, slots=True, eq=False)
class Experts:
    """``chosen`` int16 [P, L, K]: at each of P positions the K experts that each of L layers chose.

    Positions count the tokens of prompt and answer; those here are ``first``, ``first`` + 1, and
    so on. What is computed at a position predicts the token after it: an answer of T tokens to a
    prompt of S has ``first`` = S - 1 and P = T. L are the layers with a router or, from engines
    that count so, all decoder layers; what those without a router hold means nothing.
    """

    first: int
    chosen: NDArray[np.int16]

    def serves(self, prompt: int, answer: int) -> bool:
        """Whether it is of an answer of ``answer`` tokens to a prompt of ``prompt``, whole."""
        return self.first == prompt - 1 and len(self.chosen) == answer

    def to_bytes(self) -> bytes:
        """A head of 9 bytes, then one byte for each choice where there are at most 256 experts,
        else two: bytes per choice (u8), first (u32), L (u16), K (u16), choices; little-endian.

        Raises ValueError for what is not of that shape or range.
        """
        if self.chosen.ndim != 3 or not self.chosen.size or self.chosen.min() < 0:
            raise ValueError(f"experts of shape {self.chosen.shape} cannot be kept")
        width = 1 if self.chosen.max() < 256 else 2
        _, layers, count = self.chosen.shape
        try:
            head = _HEAD.pack(width, self.first, layers, count)
        except struct.error as error:
            raise ValueError(f"experts cannot be kept: {error}") from error
        return head + self.chosen.astype(f"<u{width}").tobytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Experts:
        """Raises ValueError for what ``to_bytes`` does not make."""
        if len(data) < _HEAD.size:
            raise ValueError("experts without a head")
        width, first, layers, count = _HEAD.unpack_from(data)
        size = width * layers * count
        if width not in (1, 2) or not size or (len(data) - _HEAD.size) % size:
            raise ValueError("experts with a head that does not fit them")
        flat = np.frombuffer(data, f"<u{width}", offset=_HEAD.size)
        return cls(first, flat.astype(np.int16).reshape(-1, layers, count))
