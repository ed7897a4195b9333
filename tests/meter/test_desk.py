"""What a process says of its leases counts once, whatever becomes of the answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from liveweights.meter.desk import Desk
from liveweights.meter.holdings import Holding
from liveweights.meter.leases import (
    REMEMBERED,
    TERM,
    Ask,
    Grant,
    Lease,
    LeasesAway,
    Limit,
    Pool,
    exchange,
    new_pool,
)
from liveweights.meter.periods import EVER

MOST = 100
CREDIT = Limit("tenant t", "credit", EVER, "money", MOST)

Fate = Literal["heard", "lost before", "lost after"]


@dataclass
class Shared:
    """One pool for many processes, and what becomes of the next questions."""

    now: float = 0.0
    pool: Pool = field(default_factory=lambda: new_pool(CREDIT, 0.0))
    leases: dict[str, Lease] = field(default_factory=dict)
    fate: Fate = "heard"


class Store:
    def __init__(self, shared: Shared, me: str) -> None:
        self._shared, self._me = shared, me

    async def exchange(self, asks: Sequence[Ask]) -> list[Grant]:
        shared, grants = self._shared, list[Grant]()
        if shared.fate == "lost before":
            raise LeasesAway("not connected")
        for ask in asks:
            shared.pool, shared.leases, grant = exchange(
                shared.pool, shared.leases, ask, me=self._me, now=shared.now
            )
            grants.append(grant)
        if shared.fate == "lost after":
            raise LeasesAway("the connection broke after the commit")
        return grants

    async def recall(self, owners: Sequence[str]) -> None: ...


class Process:
    def __init__(self, shared: Shared, me: str) -> None:
        self._shared = shared
        self._desk = Desk(Store(shared, me), lambda: shared.now, lambda holding, grant: None)
        self.holding = Holding(CREDIT, shared.now)

    def spend(self, amount: int) -> int:
        """As much of it as it has; how much that was."""
        amount = min(amount, max(0, self.holding.free(self._shared.now)))
        self.holding.take(amount)
        self.holding.settle(amount, amount)
        return amount

    async def ask(self, amount: int) -> bool:
        try:
            await self._desk.ask([(self.holding, amount)])
        except LeasesAway:
            return False
        return True

    async def report(self, *, give_back: bool) -> None:
        await self._desk.report([self.holding], give_back=give_back)


def test_a_report_whose_answer_is_lost_counts_once() -> None:
    async def go() -> None:
        shared = Shared()
        one, other = Process(shared, "one"), Process(shared, "other")
        await one.ask(40)
        assert one.spend(10) == 10
        shared.fate = "lost after"
        await one.report(give_back=True)
        shared.fate = "heard"
        await other.ask(90)
        # What it gave back another has: it must not give it to its requests as well.
        assert (one.holding.free(0.0), other.holding.free(0.0)) == (0, 90)
        assert one.holding.is_due(0.0)
        await one.report(give_back=False)
        assert (shared.pool.used, shared.pool.rest) == (10, 0)
        assert one.holding.is_empty()

    asyncio.run(go())


def test_a_report_that_was_not_heard_is_heard_the_second_time_with_what_came_since() -> None:
    async def go() -> None:
        shared = Shared()
        one = Process(shared, "one")
        await one.ask(40)
        one.spend(10)
        shared.fate = "lost before"
        await one.report(give_back=False)
        assert one.spend(5) == 5
        shared.fate = "heard"
        await one.report(give_back=True)
        assert (shared.pool.used, shared.pool.rest) == (15, MOST - 15)

    asyncio.run(go())


def test_what_a_process_said_is_known_after_its_lease_has_ended() -> None:
    async def go() -> None:
        shared = Shared()
        one, other = Process(shared, "one"), Process(shared, "other")
        await one.ask(40)
        one.spend(10)
        shared.fate = "lost after"
        await one.report(give_back=False)
        shared.fate, shared.now = "heard", 3 * TERM
        await other.ask(0)
        assert shared.leases["one"].amount == 0
        await one.report(give_back=True)
        assert (shared.pool.used, shared.pool.rest) == (10, MOST - 10)
        shared.now += TERM + REMEMBERED
        await other.ask(0)
        assert "one" not in shared.leases

    asyncio.run(go())


steps = st.one_of(
    st.tuples(st.just("ask"), st.integers(0, 1), st.integers(0, 50)),
    st.tuples(st.just("spend"), st.integers(0, 1), st.integers(0, 40)),
    st.tuples(st.just("report"), st.integers(0, 1), st.booleans()),
    st.tuples(st.just("fate"), st.sampled_from(["heard", "lost before", "lost after"])),
    st.tuples(st.just("wait"), st.floats(0, TERM / 4)),
)


@given(st.lists(steps, max_size=40))
def test_whatever_is_lost_all_is_counted_once_and_no_more_is_spent(script: list[tuple]) -> None:
    async def go() -> None:
        shared, spent = Shared(), 0
        processes = [Process(shared, "one"), Process(shared, "other")]
        for kind, *said in script:
            match kind:
                case "ask":
                    await processes[said[0]].ask(said[1])
                case "spend":
                    spent += processes[said[0]].spend(said[1])
                case "report":
                    await processes[said[0]].report(give_back=said[1])
                case "fate":
                    shared.fate = said[0]
                case _:
                    shared.now += said[0]
            leased = sum(lease.amount for lease in shared.leases.values())
            assert shared.pool.rest + leased + shared.pool.used == MOST
            free = sum(max(0, one.holding.free(shared.now)) for one in processes)
            assert spent + free <= MOST
        shared.fate = "heard"
        for process in [*processes, *processes]:  # it hears first of what it was given unheard
            await process.report(give_back=True)
        assert (shared.pool.used, shared.pool.rest) == (spent, MOST - spent)
        assert not any(lease.amount for lease in shared.leases.values())

    asyncio.run(go())
