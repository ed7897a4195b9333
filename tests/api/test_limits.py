from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liveweights.api.errors import ApiError
from liveweights.api.limits import Allowance, Bucket, Limiter, duration
from liveweights.api.settings import RateLimits


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


def test_an_allowance_is_charged_with_what_was_used() -> None:
    allowance = Allowance(RateLimits(tokens_per_minute=100), 0.0)
    permit = allowance.take(80, 0.0)
    with pytest.raises(ApiError) as caught:
        allowance.take(30, 0.0)
    error = caught.value
    assert (error.status, error.type, error.code) == (429, "tokens", "rate_limit_exceeded")
    assert dict(error.headers) == {
        b"retry-after": b"6",
        b"x-ratelimit-limit-tokens": b"100",
        b"x-ratelimit-remaining-tokens": b"20",
        b"x-ratelimit-reset-tokens": b"48s",
    }
    permit.close(10)
    assert dict(allowance.headers(0.0))[b"x-ratelimit-remaining-tokens"] == b"90"
    allowance.take(30, 0.0)


def test_a_request_above_the_limit_needs_all_of_it() -> None:
    allowance = Allowance(RateLimits(tokens_per_minute=100), 0.0)
    allowance.take(500, 0.0).close(500)
    with pytest.raises(ApiError):
        allowance.take(1, 200.0)
    allowance.take(1, 300.0)


def test_concurrency_and_requests() -> None:
    allowance = Allowance(RateLimits(concurrency=2, requests_per_minute=4), 0.0)
    first, _ = allowance.take(1, 0.0), allowance.take(1, 0.0)
    with pytest.raises(ApiError, match="2 requests of this key"):
        allowance.take(1, 0.0)
    first.close(1)
    first = allowance.take(1, 0.0)
    first.close(1)
    allowance.take(1, 0.0).close(1)
    with pytest.raises(ApiError, match="4 requests per minute") as caught:
        allowance.take(1, 0.0)
    assert (b"retry-after", b"15") in caught.value.headers
    assert allowance.running == 1


def test_keys_do_not_share_and_tenants_have_their_own() -> None:
    now = 0.0
    limiter = Limiter(RateLimits(requests_per_minute=1), {"big": RateLimits()}, clock=lambda: now)
    limiter.take("a", "small", 1)
    limiter.take("b", "small", 1)
    for _ in range(5):
        limiter.take("c", "big", 1)
    with pytest.raises(ApiError):
        limiter.take("a", "small", 1)
    now = 60.0
    limiter.take("a", "small", 1)
    assert limiter.headers("c", "big") == ()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0ms"), (0.02, "20ms"), (1, "1s"), (59.2, "1m0s"), (360, "6m0s"), (61, "1m1s")],
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert duration(seconds) == text
