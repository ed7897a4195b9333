"""A bounded number of answers at once, and a bounded queue in front of them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass


class QueueFull(RuntimeError):
    """So many wait already that another one would wait too long."""


@dataclass(slots=True, eq=False)
class Place:
    """One who waits for ``count`` slots. ``patient``: never sent away again."""

    count: int
    turn: asyncio.Future[None]
    patient: bool


class Slots:
    """For use from one event loop. Tenants take turns, each in its own order: first come, first
    served. A full queue sends away the last one of the tenant who has most in it, so that nobody's
    crowd keeps the others out."""

    def __init__(self, size: int, queue: int) -> None:
        self.size = size
        self.queue = queue
        self._free = size
        self._waiting: dict[str, deque[Place]] = {}
        """By tenant, whose turn it is first."""

    @property
    def running(self) -> int:
        """Slots in use."""
        return self.size - self._free

    @property
    def waiting(self) -> int:
        """Requests in the queue."""
        return sum(map(len, self._waiting.values()))

    @asynccontextmanager
    async def hold(
        self, wanted: int, *, tenant: str = "", patient: bool = False
    ) -> AsyncGenerator[None]:
        """Hold ``wanted`` slots, or all if there are fewer. Raises QueueFull, unless ``patient``:
        then it waits behind a full queue too."""
        count = await self.enter(wanted, tenant=tenant, patient=patient)
        try:
            yield
        finally:
            self.leave(count)

    async def enter(self, wanted: int, *, tenant: str = "", patient: bool = False) -> int:
        """The same, until ``leave`` is called with what this returns."""
        count = min(wanted, self.size)
        if not self._waiting and count <= self._free:
            self._free -= count
            return count
        if not patient:
            self._make_room(tenant)
        await self._wait(count, tenant, patient)
        return count

    def leave(self, count: int) -> None:
        """Give so many slots back."""
        self._free += count
        self._grant()

    def _make_room(self, tenant: str) -> None:
        waiting = self.waiting
        if waiting < self.queue:
            return
        full = QueueFull(f"{waiting} requests are waiting")
        most = max(self._waiting, key=lambda each: len(self._waiting[each]), default=tenant)
        crowd, own = self._waiting.get(most, deque()), self._waiting.get(tenant, ())
        last = next((place for place in reversed(crowd) if not place.patient), None)
        if last is None or len(own) + 1 >= len(crowd):
            raise full
        self._forget(most, last)
        if not last.turn.done():
            last.turn.set_exception(full)

    async def _wait(self, count: int, tenant: str, patient: bool) -> None:
        place = Place(count, asyncio.get_running_loop().create_future(), patient)
        self._waiting.setdefault(tenant, deque()).append(place)
        try:
            await place.turn
        except asyncio.CancelledError:
            if place.turn.cancelled():
                self._forget(tenant, place)
                self._grant()
            elif place.turn.exception() is None:  # it was granted at the same moment
                self.leave(count)
            raise

    def _forget(self, tenant: str, place: Place) -> None:
        places = self._waiting.get(tenant)
        if places is not None and place in places:
            places.remove(place)
            if not places:
                del self._waiting[tenant]

    def _grant(self) -> None:
        while self._waiting:
            tenant = next(iter(self._waiting))
            places = self._waiting[tenant]
            place = places[0]
            if not place.turn.done():
                if place.count > self._free:
                    return
                self._free -= place.count
                place.turn.set_result(None)
                del self._waiting[tenant]  # and to the end, behind the others
                self._waiting[tenant] = places
            self._forget(tenant, place)
