"""What was said lately by key, in bounded memory."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values of the keys that were put last: of at least ``kept``, and of twice as many at most."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._now: dict[K, V] = {}
        self._before: dict[K, V] = {}

    def __len__(self) -> int:
        """Values that are in memory."""
        return len(self._now) + len(self._before)

    def get(self, key: K, default: V) -> V:
        return self._now[key] if key in self._now else self._before.get(key, default)

    def put(self, key: K, value: V) -> None:
        self._now[key] = value
        if len(self._now) >= self._kept:
            self._before, self._now = self._now, {}
