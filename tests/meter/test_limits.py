from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveweights.http.errors import limit_reached
from liveweights.meter.keys import Client
from liveweights.meter.limits import Bucket, Limiter, LimitReached, duration
from liveweights.meter.settings import RateLimits


@settings(deadline=None)
@given(
    st.integers(1, 1000),
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 2000)), max_size=40),
)
def test_never_more_than_the_limit_and_what_came_back(
    limit: int, steps: list[tuple[float, float]]
) -> None:
    bucket, now, taken = Bucket(limit, limit, 0.0), 0.0, 0.0
    for pause, amount in steps:
        now += pause
        if amount <= limit and bucket.wait(amount, now) == 0:
            bucket.take(amount)
            taken += amount
        assert taken <= limit * (1 + now / 60) + 1e-6
        assert -1e-6 <= bucket.level <= limit


@settings(deadline=None)
@given(st.integers(1, 1000), st.floats(0, 1000), st.floats(0, 3000))
def test_waiting_as_long_as_told_is_enough(limit: int, level: float, amount: float) -> None:
    bucket = Bucket(limit, min(level, limit), 0.0)
    wait = bucket.wait(amount, 0.0)
    assert bucket.wait(amount, wait) == pytest.approx(0, abs=1e-6)
    assert bucket.until_full(wait) <= 60


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def make(clock: Clock | None = None, **limits: int) -> Limiter:
    return Limiter(RateLimits(**limits), {}, clock or Clock())


ME = Client("me", "key")


def test_a_request_is_charged_with_what_it_used() -> None:
    limiter = make(tokens_per_minute=100)
    permit = limiter.begin(ME)
    permit.reserve(80)
    second = limiter.begin(ME)
    with pytest.raises(LimitReached) as caught:
        second.reserve(30)
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
    second.reserve(30)


def test_a_reservation_replaces_the_one_before_or_leaves_it() -> None:
    limiter = make(tokens_per_minute=100)
    permit = limiter.begin(ME)
    for tokens, left in ((60, b"40"), (90, b"10"), (20, b"80")):
        permit.reserve(tokens)
        assert dict(permit.headers())[b"x-ratelimit-remaining-tokens"] == left
    other = limiter.begin(ME)
    other.reserve(70)
    with pytest.raises(LimitReached):
        permit.reserve(40)
    assert permit.reserved == 20
    assert dict(permit.headers())[b"x-ratelimit-remaining-tokens"] == b"10"
    permit.close()
    other.close()
    assert dict(permit.headers())[b"x-ratelimit-remaining-tokens"] == b"100"


@settings(deadline=None)
@given(
    st.integers(1, 100),
    st.lists(st.tuples(st.lists(st.integers(0, 150), max_size=3), st.integers(0, 20)), max_size=8),
)
def test_whatever_is_reserved_only_what_was_used_is_gone(
    limit: int, requests: list[tuple[list[int], int]]
) -> None:
    limiter, used = make(tokens_per_minute=limit), 0
    for reservations, spent in requests:
        try:
            permit = limiter.begin(ME)
        except LimitReached:
            continue  # in debt
        try:
            for tokens in reservations:
                permit.reserve(tokens)
            permit.used = spent
        except LimitReached:
            pass
        used += permit.used
        permit.close()
        assert limiter._allowance(ME).buckets["tokens"].level == pytest.approx(limit - used)
        assert limiter._allowance(ME).running == 0


def test_a_request_above_the_limit_needs_all_of_it_and_debts_come_back_first() -> None:
    clock = Clock()
    limiter = make(clock, tokens_per_minute=100)
    permit = limiter.begin(ME)
    permit.reserve(500)
    permit.used = 500
    permit.close()
    clock.now = 200.0
    with pytest.raises(LimitReached):
        limiter.begin(ME)  # at the door
    clock.now = 300.0
    limiter.begin(ME).reserve(1)


def test_concurrency_and_requests() -> None:
    limiter = make(concurrency=2, requests_per_minute=4)
    first, second = limiter.begin(ME), limiter.begin(ME)
    with pytest.raises(LimitReached, match="2 requests of this key"):
        limiter.begin(ME)
    first.close()
    second.close()
    for _ in range(2):
        limiter.begin(ME).close()
    with pytest.raises(LimitReached, match="4 requests per minute") as caught:
        limiter.begin(ME)
    assert (b"retry-after", b"15") in limit_reached(caught.value).headers
    assert limiter._allowance(ME).running == 0


def test_feedback_and_reads_have_limits_of_their_own() -> None:
    limiter = make(feedback_per_minute=10, reads_per_minute=1, requests_per_minute=1)
    limiter.charge(ME, "feedback", 7)
    with pytest.raises(LimitReached, match="10 feedback per minute"):
        limiter.charge(ME, "feedback", 4)
    limiter.charge(ME, "feedback", 3)
    limiter.charge(ME, "reads")
    with pytest.raises(LimitReached, match="1 reads per minute"):
        limiter.charge(ME, "reads")
    assert [name for name, _ in limiter.begin(ME).headers()] == [
        *(b"x-ratelimit-limit-requests", b"x-ratelimit-remaining-requests"),
        b"x-ratelimit-reset-requests",
    ]


def test_keys_do_not_share_and_tenants_have_their_own() -> None:
    clock = Clock()
    limiter = Limiter(RateLimits(requests_per_minute=1), {"big": RateLimits()}, clock)
    limiter.begin(Client("small", "a"))
    limiter.begin(Client("small", "b"))
    for _ in range(5):
        limiter.begin(Client("big", "c"))
        limiter.begin(Client("", own=True))
    with pytest.raises(LimitReached):
        limiter.begin(Client("small", "a"))
    clock.now = 60.0
    limiter.begin(Client("small", "a"))
    assert limiter.begin(Client("big", "c")).headers() == ()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.02, "20ms"), (1, "1s"), (59.2, "1m0s"), (360, "6m0s"), (61, "1m1s")],
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_request_that_goes_on_as_another_counts_once() -> None:
    limiter = Limiter(RateLimits(requests_per_minute=2, tokens_per_minute=100, concurrency=1), {})
    client = Client("us", "k")
    permit = limiter.begin(client)
    permit.reserve(80)
    permit.withdraw()
    permit.close()
    for _ in range(2):
        permit = limiter.begin(client)
        permit.reserve(80)
        permit.close()
    with pytest.raises(LimitReached):
        limiter.begin(client)
