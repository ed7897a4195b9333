"""What waits in memory to be written: the queue, and the batch under way in its parts."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from liveweights.record.binary import Row
from liveweights.record.feedback import Feedback
from liveweights.record.refused import Refused


@dataclass(slots=True, eq=False)
class Pending:
    """Feedback whose sender waits. ``survived`` is, of an ``edited``, the share of its answer
    that was kept; ``size`` is about how many bytes it has."""

    feedback: Feedback
    result: asyncio.Future[bool]
    survived: float | None
    size: int


Item = Row | Pending | Refused


def size_of(item: Item) -> int:
    """Bytes, about."""
    return item.size if isinstance(item, Pending) else len(item.data)


@dataclass(slots=True)
class Part:
    """What goes into one transaction. ``since`` is when its oldest item was added; ``again`` says
    that it was tried before, perhaps with success."""

    items: list[Item]
    since: float
    again: bool = False

    def halves(self) -> tuple[Part, Part]:
        middle = len(self.items) // 2
        return (
            Part(self.items[:middle], self.since, self.again),
            Part(self.items[middle:], self.since, self.again),
        )


def split(rows: Sequence[Item], most: int, size: int) -> Iterator[list[Item]]:
    """In order, each at most ``most`` rows, and none more once it has ``size`` bytes."""
    items: list[Item] = []
    bytes = 0
    for row in rows:
        if len(items) == most or bytes >= size:
            yield items
            items, bytes = [], 0
        items.append(row)
        bytes += size_of(row)
    if items:
        yield items


class Buffer:
    """First in, first out; counts rows and bytes. ``clock`` is in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._queue: deque[Item] = deque()
        self._times: deque[float] = deque()  # when each was added
        self._parts: deque[Part] = deque()
        self.rows = 0
        self.bytes = 0

    @property
    def queued(self) -> int:
        """How many are not of the batch under way."""
        return len(self._queue)

    @property
    def age(self) -> float:
        """Seconds since the oldest item was added; 0.0 where nothing waits."""
        since = self._parts[0].since if self._parts else self._times[0] if self._times else None
        return 0.0 if since is None else max(0.0, self._clock() - since)

    def add(self, item: Item) -> None:
        self._queue.append(item)
        self._times.append(self._clock())
        self.rows += 1
        self.bytes += size_of(item)

    def take(self, rows: int, size: int) -> int:
        """Begin a batch: the oldest items, at most ``rows``, and none more once they have ``size``
        bytes. How many it has."""
        queue, items = self._queue, list[Item]()
        if self.bytes <= size:  # all sizes together
            items = [queue.popleft() for _ in range(min(len(queue), rows))]
        else:
            left = size
            while queue and len(items) < rows and left > 0:
                items.append(queue.popleft())
                left -= size_of(items[-1])
        if items:
            self._parts.append(Part(items, self._times[0]))
            for _ in items:
                self._times.popleft()
        return len(items)

    @property
    def part(self) -> Part | None:
        """What is to be written next of the batch; None when nothing is left of it."""
        return self._parts[0] if self._parts else None

    def halve(self) -> None:
        """Make two of the next part."""
        self._parts.extendleft(reversed(self._parts.popleft().halves()))

    def settle(self) -> list[Item]:
        """The next part is done with; what it was."""
        items = self._parts.popleft().items
        self._uncount(items)
        return items

    def generations(self) -> list[Row]:
        """All that wait here, the oldest first."""
        return [item for item in self if isinstance(item, Row)]

    def remove(self, rows: Sequence[Row]) -> None:
        """They are kept elsewhere; those that are no longer here are left out."""
        gone = set(map(id, rows))
        here = [item for item in self if id(item) in gone]
        for part in self._parts:
            part.items = [item for item in part.items if id(item) not in gone]
        waiting = list(zip(self._queue, self._times, strict=True))
        self._queue = deque(item for item, _ in waiting if id(item) not in gone)
        self._times = deque(at for item, at in waiting if id(item) not in gone)
        self._uncount(here)

    def __iter__(self) -> Iterator[Item]:
        """Oldest first."""
        for part in self._parts:
            yield from part.items
        yield from self._queue

    def _uncount(self, items: Sequence[Item]) -> None:
        self.rows -= len(items)
        self.bytes -= sum(map(size_of, items))
