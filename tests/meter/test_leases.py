"""What is decided about leases: never more is used than there is."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from liveweights.meter.leases import MINUTE, TERM, Ask, Kind, Lease, Limit, Pool, exchange, new_pool
from liveweights.meter.periods import EVER


def limit(most: int, kind: Kind = "money") -> Limit:
    return Limit("key a", "x", EVER, kind, most)


@dataclass
class World:
    """One pool, and what its processes have of it and have used since they last said so."""

    limit: Limit
    now: float = 1000.0
    pool: Pool = field(init=False)
    leases: dict[str, Lease] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    unsaid: dict[str, int] = field(default_factory=dict)
    spent: int = 0
    lost: int = 0
    """Used by processes that died before they said so."""

    def __post_init__(self) -> None:
        self.pool = new_pool(self.limit, self.now)

    def ask(self, me: str, wanted: int, returned: int, ahead: int) -> None:
        used = self.unsaid.pop(me, 0)
        returned = min(returned, self.held.get(me, 0) - used)
        ask = Ask(self.limit, used, returned, wanted, wanted, ahead)
        self.pool, self.leases, grant = exchange(self.pool, self.leases, ask, me=me, now=self.now)
        self.held[me] = grant.held
        assert grant.held == (self.leases[me].amount if me in self.leases else 0)

    def use(self, me: str, amount: int) -> None:
        """As much of it as a process can: it looks at its lease, and at the time."""
        there = self.held.get(me, 0) - self.unsaid.get(me, 0)
        if me not in self.leases or self.leases[me].until <= self.now:
            return
        amount = min(amount, there)
        self.unsaid[me] = self.unsaid.get(me, 0) + amount
        self.spent += amount

    def die(self, me: str) -> None:
        self.held.pop(me, None)
        self.lost += self.unsaid.pop(me, 0)


names = st.sampled_from(["a", "b", "c", "d"])
steps = st.one_of(
    st.tuples(st.just("ask"), names, st.integers(0, 50), st.integers(0, 50), st.integers(0, 50)),
    st.tuples(st.just("use"), names, st.integers(0, 60)),
    st.tuples(st.just("die"), names),
    st.tuples(st.just("wait"), st.floats(0, 2 * TERM)),
)


@given(st.integers(0, 300), st.lists(steps, max_size=60))
def test_a_budget_is_never_overspent(most: int, script: list[tuple]) -> None:
    world = World(limit(most))
    for kind, *said in script:
        if kind == "wait":
            world.now += said[0]
            # Who is alive renews its lease before it ends.
            for name in [name for name, one in world.leases.items() if name in world.held]:
                if (
                    world.leases[name].until - world.now < TERM / 2
                    and world.leases[name].until > world.now
                ):
                    world.ask(name, 0, 0, 0)
        else:
            getattr(world, kind)(*said)
        leased = sum(one.amount for one in world.leases.values())
        assert world.pool.rest + leased + world.pool.used == most
        # Only what a process used and could not say any more goes beyond.
        assert world.spent <= most + world.lost
        assert all(one.amount > 0 for one in world.leases.values())


@given(
    st.integers(1, 200),
    st.lists(st.tuples(st.floats(0, 20), names, st.integers(0, 50)), max_size=40),
)
def test_a_limit_per_minute_gives_what_came_back_and_no_more(
    most: int, script: list[tuple[float, str, int]]
) -> None:
    world = World(limit(most, "rate"))
    began = world.now
    for pause, name, amount in script:
        world.now += pause
        world.ask(name, amount, 0, 0)
        world.use(name, amount)
        world.ask(name, 0, 0, 0)  # it says so before its lease ends
        assert world.spent <= most * (1 + (world.now - began) / MINUTE) + 1e-6
        leased = sum(one.amount for one in world.leases.values())
        assert world.pool.rest + leased <= most


def test_what_a_dead_process_had_goes_back_when_its_lease_ends() -> None:
    world = World(limit(100))
    world.ask("a", 60, 0, 0)
    world.use("a", 10)
    world.ask("a", 0, 0, 0)  # it says so
    world.die("a")
    world.ask("b", 60, 0, 0)
    assert world.held["b"] == 0
    world.now += TERM
    world.ask("b", 60, 0, 0)
    assert world.held["b"] == 60
    assert (world.pool.rest, world.pool.used, set(world.leases)) == (30, 10, {"b"})


def test_nobody_takes_all_ahead_of_its_needs() -> None:
    world = World(limit(1000))
    world.ask("a", 100, 0, 10_000)
    assert world.held["a"] == 100 + 900 // 4


def test_whoever_asks_for_several_gets_what_is_there_for_some() -> None:
    pool = new_pool(limit(10), 0.0)
    ask = Ask(limit(10), wanted=30, least=5)
    _, _, grant = exchange(pool, {}, ask, me="a", now=0.0)
    assert (grant.held, grant.rest) == (10, 0)
    _, _, grant = exchange(pool, {}, replace(ask, least=11), me="a", now=0.0)
    assert (grant.held, grant.rest) == (0, 10)


def test_a_limit_that_is_changed_holds_from_then_on() -> None:
    world = World(limit(100))
    world.ask("a", 40, 0, 0)
    world.use("a", 40)
    world.limit = limit(50)
    world.ask("a", 20, 0, 0)
    assert (world.held["a"], world.pool.rest) == (0, 10)
    world.limit = limit(30)
    world.ask("a", 1, 0, 0)
    assert (world.held["a"], world.pool.rest) == (0, -10)


def test_most_of_a_budget_is_told_once() -> None:
    pool, leases = new_pool(limit(100), 0.0), dict[str, Lease]()
    told = []
    for used in (79, 1, 1, 19):
        ask = Ask(limit(100), used=used)
        pool, leases, grant = exchange(pool, leases, ask, me="a", now=0.0, warn_at=0.8)
        told.append(grant.warn)
    assert told == [False, True, False, False]


def test_what_was_told_is_told_again_only_if_that_answer_got_lost() -> None:
    pool, leases = new_pool(limit(100), 0.0), dict[str, Lease]()
    told = []
    for used, report in ((79, 1), (2, 2), (2, 2), (1, 3), (1, 3)):
        ask = Ask(limit(100), used=used, report=report)
        pool, leases, grant = exchange(pool, leases, ask, me="a", now=0.0, warn_at=0.8)
        told.append(grant.warn)
    assert told == [False, True, True, False, False]


def test_a_budget_that_was_raised_is_told_of_again() -> None:
    pool, leases = new_pool(limit(100), 0.0), dict[str, Lease]()
    told = []
    for most, used in ((100, 80), (150, 0), (150, 39), (150, 1), (150, 1), (300, 0), (125, 0)):
        ask = Ask(limit(most), used=used)
        pool, leases, grant = exchange(pool, leases, ask, me="a", now=0.0, warn_at=0.8)
        told.append(grant.warn)
    assert told == [True, False, False, True, False, False, True]
