"""A bound on what a model thinks: once it is spent, the mark that ends it is all that may come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from liveweights.engines.text import HALF

QUOTES = frozenset("\"'`")
PARTS = 4
"""Bytes of the longest character of UTF-8, and so the tokens that it may be cut into."""
Decode = Callable[[Sequence[int]], str]


@dataclass(frozen=True, slots=True)
class ThinkingBudget:
    """At most ``tokens`` of thinking, and what completes the character that they end in. ``end``
    are the ids that end it, spelled ``mark``; ``begin`` those that an answer begins with which has
    been thought out, None where the prompt has them."""

    tokens: int
    end: tuple[int, ...]
    mark: str
    begin: tuple[int, ...] | None = None


class BudgetKeeper:
    """Follows one answer. ``decode`` is its tokens' text, with special tokens."""

    def __init__(self, budget: ThinkingBudget, decode: Decode) -> None:
        self._budget = budget
        self._decode = decode
        self._ids: list[int] = []
        self._forced: list[int] | None = None
        """What has to come still; None while that is not decided."""

    @property
    def forced(self) -> int | None:
        """The token that has to be next; None where any may come."""
        if self._forced is None and self._beyond() >= 0 and not self._is_within_character():
            self._forced = list(reversed(self._budget.end)) if self._thinks() else []
        return self._forced[-1] if self._forced else None

    def push(self, token: int) -> None:
        if self._forced:
            self._forced.pop()
        elif self._forced is None:
            self._ids.append(token)

    def _beyond(self) -> int:
        """Tokens above the budget."""
        return len(self._ids) - self._budget.tokens - len(self._budget.begin or ())

    def _is_within_character(self) -> bool:
        """Whether the next token has to complete one: nothing else can follow its first bytes."""
        return self._beyond() < PARTS - 1 and self._decode(self._ids).endswith(HALF)

    def _thinks(self) -> bool:
        """Whether the answer is in its thinking still: it began with it, if the prompt did not, and
        every end mark since stands between quotation marks."""
        ids, end = self._ids, self._budget.end
        begin = self._budget.begin or ()
        if begin and not self._begun(begin):
            return False
        if len(end) == 1:
            parts = _parts(ids, end[0])
            texts = [self._decode(part) for part in parts]
        else:
            texts = self._decode(ids).split(self._budget.mark)
        pairs = pairwise(texts)
        return all(a[-1:] in QUOTES and a[-1:] == b[:1] for a, b in pairs)

    def _begun(self, begin: tuple[int, ...]) -> bool:
        if len(begin) == 1:
            return begin[0] in self._ids
        return self._decode(self._ids).lstrip().startswith(self._decode(begin))


def _parts(ids: Sequence[int], mark: int) -> list[list[int]]:
    parts: list[list[int]] = [[]]
    for id in ids:
        if id == mark:
            parts.append([])
        else:
            parts[-1].append(id)
    return parts
