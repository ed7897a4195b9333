from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from liveweights.http.errors import limit_reached
from liveweights.meter.budgets import Budget
from liveweights.meter.charges import Counts
from liveweights.meter.keys import Client
from liveweights.meter.leases import Ask, Grant, LeasesAway, MemoryLeases
from liveweights.meter.limits import (
    QUIET,
    QUOTA,
    FindPrice,
    Limiter,
    LimitReached,
    Permit,
    Spending,
    duration,
)
from liveweights.meter.price_book import PriceBook
from liveweights.meter.prices import EPOCH, PriceRow
from liveweights.meter.rights import Rights
from liveweights.meter.settings import RateLimits
from liveweights.meter.tenants import Tenant


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock | None = None, **limits: int) -> Limiter:
    return Limiter(RateLimits(**limits), {}, clock or Clock())


ME = Client("me", "key")
NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
MILLION = 10**6


def priced(**price: int) -> FindPrice:
    """That for every model and tenant."""
    return PriceBook([PriceRow(id=1, since=EPOCH, **price)]).find


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(work())  # type: ignore[arg-type]


def test_a_request_is_charged_with_what_it_used() -> None:
    async def work() -> None:
        limiter = make(tokens_per_minute=100)
        permit = await limiter.begin(ME)
        await permit.reserve(80)
        second = await limiter.begin(ME)
        with pytest.raises(LimitReached) as caught:
            await second.reserve(30)
        error = limit_reached(caught.value)
        assert (error.status, error.type, error.code) == (429, "tokens", "rate_limit_exceeded")
        assert dict(error.headers) == {
            b"retry-after": b"6",
            b"x-ratelimit-limit-tokens": b"100",
            b"x-ratelimit-remaining-tokens": b"20",
            b"x-ratelimit-reset-tokens": b"48s",
        }
        permit.used = 10
        permit.close()
        assert dict(second.headers())[b"x-ratelimit-remaining-tokens"] == b"90"
        await second.reserve(30)

    run(work)


def test_a_reservation_replaces_the_one_before_or_leaves_it() -> None:
    async def work() -> None:
        limiter = make(tokens_per_minute=100)
        permit = await limiter.begin(ME)
        for tokens, left in ((60, b"40"), (90, b"10"), (20, b"80")):
            await permit.reserve(tokens)
            assert dict(permit.headers())[b"x-ratelimit-remaining-tokens"] == left
        other = await limiter.begin(ME)
        await other.reserve(70)
        with pytest.raises(LimitReached):
            await permit.reserve(40)
        assert permit.reserved == 20
        assert dict(permit.headers())[b"x-ratelimit-remaining-tokens"] == b"10"
        permit.close()
        other.close()
        assert dict(permit.headers())[b"x-ratelimit-remaining-tokens"] == b"100"

    run(work)


@given(
    st.integers(1, 100),
    st.lists(st.tuples(st.lists(st.integers(0, 150), max_size=3), st.integers(0, 20)), max_size=8),
)
def test_whatever_is_reserved_only_what_was_used_is_gone(
    limit: int, requests: list[tuple[list[int], int]]
) -> None:
    async def work() -> None:
        limiter, used = make(tokens_per_minute=limit), 0
        for reservations, spent in requests:
            try:
                permit = await limiter.begin(ME)
            except LimitReached:
                continue  # in debt
            try:
                for tokens in reservations:
                    await permit.reserve(tokens)
                permit.used = spent
            except LimitReached:
                pass
            used += permit.used
            permit.close()
            holding = limiter.account(ME).by_name["tokens"]
            assert holding.left(0.0) == limit - used
            assert holding.reserved == 0

    run(work)


def test_a_request_above_the_limit_needs_all_of_it_and_debts_come_back_first() -> None:
    async def work() -> None:
        clock = Clock()
        limiter = make(clock, tokens_per_minute=100)
        permit = await limiter.begin(ME)
        await permit.reserve(30)
        await permit.reserve(500)
        permit.used = 500
        permit.close()
        clock.now = 200.0
        with pytest.raises(LimitReached):
            await limiter.begin(ME)  # at the door
        clock.now = 300.0
        await (await limiter.begin(ME)).reserve(1)

    run(work)


@given(st.integers(1, 1000), st.integers(0, 1000), st.integers(1, 3000))
def test_waiting_as_long_as_told_is_enough(limit: int, before: int, amount: int) -> None:
    async def work() -> None:
        clock = Clock()
        limiter = make(clock, tokens_per_minute=limit)
        first = await limiter.begin(ME)
        await first.reserve(before)
        first.used = before
        first.close()
        try:
            second = await limiter.begin(ME)
        except LimitReached as reached:
            clock.now += reached.wait + 1e-6
            second = await limiter.begin(ME)
        try:
            await second.reserve(amount)
        except LimitReached as reached:
            clock.now += min(reached.wait, 60) + 1e-6
            await second.reserve(amount)

    run(work)


def test_concurrency_and_requests() -> None:
    async def work() -> None:
        clock = Clock()
        limiter = make(clock, concurrency=2, requests_per_minute=4)
        first, second = await limiter.begin(ME), await limiter.begin(ME)
        with pytest.raises(LimitReached, match="2 requests of this key"):
            await limiter.begin(ME)
        first.close()
        second.close()
        for _ in range(2):
            (await limiter.begin(ME)).close()
        with pytest.raises(LimitReached, match="4 requests per minute") as caught:
            await limiter.begin(ME)
        assert (b"retry-after", b"15") in limit_reached(caught.value).headers
        assert limiter.account(ME).by_name["concurrency"].reserved == 0

    run(work)


def test_feedback_and_reads_have_limits_of_their_own() -> None:
    async def work() -> None:
        limiter = make(feedback_per_minute=10, reads_per_minute=1, requests_per_minute=1)
        await limiter.charge(ME, "feedback", 7)
        with pytest.raises(LimitReached, match="10 feedback per minute"):
            await limiter.charge(ME, "feedback", 4)
        await limiter.charge(ME, "feedback", 3)
        await limiter.charge(ME, "reads")
        with pytest.raises(LimitReached, match="1 reads per minute"):
            await limiter.charge(ME, "reads")
        assert [name for name, _ in (await limiter.begin(ME)).headers()] == [
            *(b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests"),
            b"x-ratelimit-reset-requests",
        ]

    run(work)


def test_keys_do_not_share_and_tenants_and_keys_have_their_own() -> None:
    async def work() -> None:
        clock = Clock()
        limiter = Limiter(RateLimits(requests_per_minute=1), {"big": RateLimits()}, clock)
        await limiter.begin(Client("small", "a"))
        await limiter.begin(Client("small", "b"))
        own = Rights(limits=RateLimits(requests_per_minute=2))
        for _ in range(2):
            await limiter.begin(Client("small", "d", rights=own))
        for _ in range(5):
            await limiter.begin(Client("big", "c"))
            await limiter.begin(Client("", own=True))
        with pytest.raises(LimitReached):
            await limiter.begin(Client("small", "a"))
        clock.now = 60.0
        await limiter.begin(Client("small", "a"))
        assert (await limiter.begin(Client("big", "c"))).headers() == ()

    run(work)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.02, "20ms"), (1, "1s"), (59.2, "1m0s"), (360, "6m0s"), (61, "1m1s")],
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


NOON = datetime(2026, 3, 29, 12, tzinfo=UTC)
ACME = Tenant(
    name="acme",
    created_at=NOON,
    time_zone="Europe/Berlin",
    currency="EUR",
    budgets=(Budget(period="day", nanos=100),),
)


def tenants(*known: Tenant, **how: Any) -> Limiter:
    by_name = {tenant.name: tenant for tenant in known}
    return Limiter(
        RateLimits(),
        {},
        how.pop("clock", None) or Clock(),
        find_tenant=by_name.get,
        today=how.pop("today", lambda: NOON),
        **how,
    )


async def spend(limiter: Limiter, client: Client, reserved: int, cost: int) -> Permit:
    permit = await limiter.begin(client)
    try:
        await permit.reserve(10, reserved)
        permit.cost = cost
    finally:
        permit.close()
    return permit


def test_a_budget_is_reserved_and_settled_for_the_tenant_and_for_the_key() -> None:
    key = Client("acme", "a", rights=Rights(budgets=(Budget(period="all", nanos=30),)))
    other = Client("acme", "b")

    async def work() -> None:
        limiter = tenants(ACME)
        await spend(limiter, key, 30, 10)
        with pytest.raises(LimitReached, match="The key's budget is spent") as caught:
            await spend(limiter, key, 21, 0)
        error = limit_reached(caught.value)
        assert (error.status, error.type, error.code) == (429, QUOTA, QUOTA)
        await spend(limiter, key, 20, 20)
        await spend(limiter, other, 70, 60)
        with pytest.raises(LimitReached, match="The tenant's budget for the day is spent") as last:
            await spend(limiter, other, 11, 0)
        assert "0.00000001 EUR are left" in str(last.value)
        assert "begins at 2026-03-29T22:00:00Z" in str(last.value)  # a short day in Berlin
        assert last.value.wait == 10 * 3600
        await spend(limiter, other, 0, 0)  # what costs nothing goes on
        await spend(limiter, other, 10, 10)

    run(work)


def test_a_new_day_begins_in_the_tenants_own_calendar() -> None:
    now = [NOON]

    async def work() -> None:
        limiter = tenants(ACME, today=lambda: now[0])
        client = Client("acme", "a")
        running = await limiter.begin(client)
        await running.reserve(0, 100)
        now[0] = NOON + timedelta(hours=9, minutes=59)
        with pytest.raises(LimitReached):
            await spend(limiter, client, 1, 1)
        now[0] = NOON + timedelta(hours=10)
        await spend(limiter, client, 100, 100)
        running.cost = 100  # it is of the day on which it came in
        running.close()
        with pytest.raises(LimitReached):
            await spend(limiter, client, 1, 1)

    run(work)


def test_credit_that_is_used_up_stops_hard_until_there_is_more() -> None:
    known = {"acme": replace(ACME, budgets=(), credit=50)}

    async def work() -> None:
        limiter = Limiter(
            RateLimits(), {}, Clock(), find_tenant=lambda name: known.get(name), today=lambda: NOON
        )
        client = Client("acme", "a")
        await spend(limiter, client, 50, 50)
        with pytest.raises(LimitReached, match="prepaid credit is spent"):
            await spend(limiter, client, 1, 0)
        known["acme"] = replace(ACME, budgets=(), credit=60)
        await spend(limiter, client, 10, 10)
        known["acme"] = replace(ACME, budgets=(), credit=0)
        with pytest.raises(LimitReached):
            await spend(limiter, client, 1, 0)

    run(work)


def test_a_budget_that_is_spent_is_told_once() -> None:
    """A store in memory warns at the end; those in the database at the share that was set."""
    told: list[Spending] = []

    async def work() -> None:
        limiter = tenants(ACME, spent=told.append)
        client = Client("acme", "a")
        for cost in (50, 40, 10, 0):
            await spend(limiter, client, cost, cost)
            await limiter.give_back()

    run(work)
    (spending,) = told
    assert (spending.tenant, spending.currency, spending.used) == ("acme", "EUR", 100)
    assert spending.limit.place == ("tenant acme", "day", NOON - timedelta(hours=13))


def test_a_spent_budget_is_told_of_although_another_key_was_quiet() -> None:
    told: list[Spending] = []
    key = Client("acme", "a", rights=Rights(budgets=(Budget(period="all", nanos=30),)))

    async def work() -> None:
        clock = Clock()
        limiter = tenants(ACME, clock=clock, spent=told.append)
        permit = await limiter.begin(key)
        await permit.reserve(10, 30)
        limits = RateLimits(requests_per_minute=5)
        limiter.account(Client("other", "quiet", rights=Rights(limits=limits)))
        clock.now += QUIET + 1
        limiter._forget(clock())
        permit.cost = 30
        permit.close()
        await limiter.give_back()

    run(work)
    assert [(one.tenant, one.currency, one.limit.owner) for one in told] == [
        ("acme", "EUR", "key a")
    ]


def test_what_a_request_uses_counts_although_its_allowance_had_been_quiet() -> None:
    """It is forgotten while the request waits for its turn, between the door and its first take."""

    async def work() -> None:
        clock = Clock()
        limiter = tenants(ACME, clock=clock)
        client = Client("acme", "a")
        permit = await limiter.begin(client)
        clock.now += QUIET + 1
        limiter._forget(clock())
        await permit.reserve(10, 60)
        with pytest.raises(LimitReached):
            await spend(limiter, client, 41, 0)
        permit.cost = 60
        permit.close()
        await limiter.give_back()
        (money,) = (await limiter.look(client)).money
        assert money.holding.total == 60

    run(work)


class Away:
    """A store that can be away."""

    def __init__(self, clock: Clock) -> None:
        self.there = True
        self._store = MemoryLeases(clock)

    async def exchange(self, asks: Sequence[Ask]) -> list[Grant]:
        if not self.there:
            raise LeasesAway("no connection")
        return await self._store.exchange(asks)

    async def recall(self, owners: Sequence[str]) -> None:
        if not self.there:
            raise LeasesAway("no connection")


def test_while_the_database_is_away_answers_go_on_and_money_stops() -> None:
    async def work() -> None:
        clock = Clock()
        store = Away(clock)
        limiter = Limiter(
            RateLimits(requests_per_minute=5, concurrency=2),
            {},
            clock,
            store=store,
            find_tenant={"acme": ACME}.get,
            today=lambda: NOON,
        )
        rich, poor = Client("acme", "a"), Client("nobody", "b")
        await spend(limiter, rich, 10, 10)
        store.there = False
        for _ in range(5):
            await spend(limiter, poor, 0, 0)
        with pytest.raises(LimitReached):
            await spend(limiter, poor, 0, 0)
        with pytest.raises(LeasesAway):
            await spend(limiter, rich, 50, 50)
        await limiter.give_back()
        store.there = True
        await spend(limiter, rich, 90, 90)
        with pytest.raises(LimitReached):
            await spend(limiter, rich, 1, 1)

    run(work)


def test_what_is_used_is_reported_and_what_is_not_needed_goes_back() -> None:
    async def work() -> None:
        clock = Clock()
        store = MemoryLeases(clock)
        limiter = Limiter(
            RateLimits(),
            {},
            clock,
            store=store,
            find_tenant={"acme": ACME}.get,
            today=lambda: NOON,
        )
        client = Client("acme", "a")
        await spend(limiter, client, 60, 15)
        (money,) = limiter.account(client).money
        assert (money.holding.held, money.holding.used) == (60, 15)
        await limiter.give_back(["key a"])  # not what is asked for
        assert money.holding.held == 60
        await limiter.give_back(["tenant acme"])
        assert (money.holding.held, money.holding.used, money.holding.rest) == (0, 0, 85)
        account = await limiter.look(client)
        assert account.money[0].holding.total == 15

    run(work)


def test_many_at_once_get_what_there_is_and_no_more() -> None:
    async def work() -> None:
        limiter = tenants(ACME)
        client = Client("acme", "a")

        async def one() -> bool:
            try:
                await spend(limiter, client, 7, 7)
            except LimitReached:
                return False
            return True

        taken = await asyncio.gather(*(one() for _ in range(50)))
        assert sum(taken) == 100 // 7

    run(work)


def test_whoever_goes_away_while_it_waits_takes_nothing_with_it() -> None:
    async def work() -> None:
        clock = Clock()
        gate = asyncio.Event()

        class Slow(MemoryLeases):
            async def exchange(self, asks: Sequence[Ask]) -> list[Grant]:
                await gate.wait()
                return await super().exchange(asks)

        limiter = Limiter(RateLimits(concurrency=2), {}, clock, store=Slow(clock))
        first, second = (asyncio.create_task(limiter.begin(ME)) for _ in range(2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        first.cancel()
        gate.set()
        await second
        assert first.cancelled()
        (await limiter.begin(ME)).close()

    run(work)


def test_a_models_budget_is_of_all_keys_together() -> None:
    budgets = (Budget(period="day", nanos=100),)

    async def work() -> None:
        clock = Clock()
        limiter = Limiter(RateLimits(), {}, clock, find_price=priced(input=MILLION, output=MILLION))
        first, second, third = [
            await limiter.begin(Client(name, f"key of {name}")) for name in ("a", "b", "c")
        ]
        await first.spend("big", budgets, 30, 40)
        with pytest.raises(LimitReached, match="The model's budget for the day") as caught:
            await second.spend("big", budgets, 20, 20)
        assert caught.value.code == QUOTA
        assert "left" not in str(caught.value)  # that is the operator's business
        await second.spend("other", budgets, 20, 20)
        first.charge("big", Counts(10, 5), NOW)
        first.close()
        clock.now += 1  # a refusal holds for a moment
        await second.spend("big", budgets, 40, 45)
        await third.spend("other", budgets, 50, 50)  # whom the second one left
        second.charge("tiny", Counts(9, 9), NOW)  # another answered in the end
        second.close()
        third.close()
        last = await limiter.begin(ME)
        await last.spend("big", budgets, 85, 0)
        with pytest.raises(LimitReached):
            await last.spend("big", budgets, 86, 0)
        clock.now += 1
        await last.spend("big", budgets, 85, 0)
        last.close()

    run(work)


def test_a_models_budget_begins_anew_with_the_day() -> None:
    days = [datetime(2026, 11, 29, 23, tzinfo=UTC)]

    async def work() -> None:
        clock = Clock()
        limiter = Limiter(
            RateLimits(), {}, clock, find_price=priced(request=60), today=lambda: days[0]
        )
        budgets = (Budget(period="day", nanos=100), Budget(period="all", nanos=150))
        for hour, there in ((0, True), (0, False), (1, True), (24, False)):
            days[0] += timedelta(hours=hour)
            clock.now += 3600 * hour
            permit = await limiter.begin(ME)
            if there:
                await permit.spend("big", budgets, 1, 1)
                permit.charge("big", Counts(1, 1), NOW)
            else:
                with pytest.raises(LimitReached):
                    await permit.spend("big", budgets, 1, 1)
            permit.close()

    run(work)
