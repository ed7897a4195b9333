"""Where a process asks for leases: many askers, one question at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from liveweights.meter.holdings import Holding
from liveweights.meter.leases import Ask, Grant, LeasesAway, LeaseStore, MemoryLeases

log = logging.getLogger(__name__)

Warn = Callable[[Holding, Grant], None]


class Desk:
    """Puts what is asked while one question is under way into the next one, so that however many
    requests wait, the store is asked by one connection.

    While the store is away, limits per minute and at once are counted by this process alone, so
    that it goes on answering; money is not given out.
    """

    def __init__(self, store: LeaseStore, clock: Callable[[], float], warn: Warn) -> None:
        self._store = store
        self._clock = clock
        self._warn = warn
        self._alone = MemoryLeases(clock)
        self._away = False
        self._needs: dict[Holding, list[int]] = {}
        self._idle: set[Holding] = set()
        self._waiting: list[tuple[frozenset[Holding], asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def ask(self, needs: Iterable[tuple[Holding, int]]) -> None:
        """Returns when the store has answered; what it gave is in the holdings. Raises LeasesAway
        where one of them is of money."""
        wanted = list(needs)
        for holding, amount in wanted:
            self._needs.setdefault(holding, []).append(amount)
        await self._answered([holding for holding, _ in wanted])

    async def report(self, holdings: Sequence[Holding], *, give_back: bool = False) -> None:
        """Say what was used, and give back what is not needed, or with ``give_back`` all that is
        free. While the store is away this waits for another time."""
        for holding in holdings:
            self._needs.setdefault(holding, [])
        if give_back:
            self._idle.update(holdings)
        with suppress(LeasesAway):  # it was said once, and the holdings still know
            await self._answered(holdings)

    async def recall(self, owners: Sequence[str]) -> None:
        await self._store.recall(owners)

    async def _answered(self, holdings: Sequence[Holding]) -> None:
        if not holdings:
            return
        future = asyncio.get_running_loop().create_future()
        self._waiting.append((frozenset(holdings), future))
        if self._task is None or self._task.done():
            # A task of its own: whoever asked first may go away, and others wait for it too.
            self._task = asyncio.create_task(self._work())
        await future

    async def _work(self) -> None:
        while self._needs:
            needs, self._needs = self._needs, {}
            idle, self._idle = self._idle, set()
            waiting, self._waiting = self._waiting, []
            away = frozenset[Holding]()
            try:
                away = await self._exchange(needs, idle)
            except BaseException as error:
                # Nobody is left waiting for an answer that does not come.
                waiting += self._waiting
                self._needs, self._waiting = {}, []
                for _, future in waiting:
                    if not future.done():
                        future.set_exception(LeasesAway(f"{type(error).__name__}: {error}"))
                raise
            for wanted, future in waiting:
                if future.done():
                    continue
                if wanted & away:
                    future.set_exception(LeasesAway("the database is away"))
                else:
                    future.set_result(None)

    async def _exchange(
        self, needs: dict[Holding, list[int]], idle: set[Holding]
    ) -> frozenset[Holding]:
        """The holdings for which nobody answered."""
        # Said again as it was: new figures under a new number would count what was heard twice.
        again = {holding: holding.unheard for holding in needs if holding.unheard is not None}
        lost = await self._put(again) if again else frozenset[Holding]()
        now = self._clock()
        asks = {
            holding: holding.make_ask(wanted, give_back=holding in idle, now=now)
            for holding, wanted in needs.items()
            if holding not in lost
        }
        return lost | await self._put(asks, alone=bool(again) and self._away)

    async def _put(self, asks: dict[Holding, Ask], *, alone: bool = False) -> frozenset[Holding]:
        """Ask the store, unless it is known to be away; the holdings for which nobody answered."""
        asked_at = self._clock()
        money = frozenset(h for h, ask in asks.items() if ask.limit.kind == "money")
        if not alone:
            try:
                grants = await self._store.exchange(list(asks.values()))
            except LeasesAway as error:
                if not self._away:
                    log.warning("limits hold for this process alone: %s", error)
                self._away = True
            else:
                self._away = False
                self._apply(asks, grants, asked_at)
                return frozenset()
        others = {holding: ask for holding, ask in asks.items() if holding not in money}
        self._apply(others, await self._alone.exchange(list(others.values())), asked_at)
        return money

    def _apply(self, asks: dict[Holding, Ask], grants: Sequence[Grant], asked_at: float) -> None:
        now = self._clock()
        for (holding, ask), grant in zip(asks.items(), grants, strict=True):
            holding.granted(ask, grant, asked_at=asked_at, now=now)
            if grant.warn:
                self._warn(holding, grant)
