"""Which models are asked one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Fallbacks = Mapping[str, Sequence[str]]
"""Name of a model to those that are asked in its place; a model that is missing has none."""


def list_chain(name: str, fallbacks: Fallbacks) -> list[str]:
    """``name``, then each of its fallbacks with that one's own behind it, none of them twice."""
    chain: dict[str, None] = {}

    def follow(one: str) -> None:
        if one not in chain:
            chain[one] = None
            for other in fallbacks.get(one, ()):
                follow(other)

    follow(name)
    return list(chain)


def find_circle(fallbacks: Fallbacks) -> list[str]:
    """Models of which each falls back on the next, the first once more at the end; none where
    there is no such circle."""
    done = set[str]()

    def follow(path: list[str]) -> list[str]:
        last = path[-1]
        if last in path[:-1]:
            return path[path.index(last) :]
        if last in done:
            return []
        for other in fallbacks.get(last, ()):
            if circle := follow([*path, other]):
                return circle
        done.add(last)
        return []

    return next((circle for name in fallbacks if (circle := follow([name]))), [])
