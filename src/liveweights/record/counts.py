"""How much feedback each answer got: adding to it costs as much time as there is of it already."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from liveweights.record.feedback import Feedback
from liveweights.record.recent import Recent

MOST = 200
KEPT = 50_000


class FeedbackCounts:
    """Of the answers that got some lately, at least ``kept`` of them; of others nothing is known,
    which lets a few more in, and costs no question."""

    def __init__(self, most: int = MOST, kept: int = KEPT) -> None:
        self._most = most
        self._counts = Recent[str, int](kept)

    def add(self, feedback: Feedback) -> None:
        """It is stored."""
        count = self._counts.get(feedback.generation, 0)
        self._counts.put(feedback.generation, count + 1)

    def surplus(self, feedback: Sequence[Feedback]) -> set[int]:
        """Positions of those that come when their answer has as much as it may have. What comes
        twice among these counts once; what repeats something earlier counts too."""
        coming = Counter([f.generation for f in feedback])
        crowded = {g for g, n in coming.items() if self._counts.get(g, 0) + n > self._most}
        positions: set[int] = set()
        ids: dict[str, set[tuple[str, str]]] = {generation: set() for generation in crowded}
        for position, f in enumerate(feedback) if crowded else ():
            if f.generation not in crowded:
                continue
            before = ids[f.generation]
            if (key := (f.tenant, f.id)) in before:
                continue
            if self._counts.get(f.generation, 0) + len(before) >= self._most:
                positions.add(position)
            else:
                before.add(key)
        return positions
