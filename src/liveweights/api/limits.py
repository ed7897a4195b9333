"""How much one API key may ask for: requests and tokens per minute, and answers at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from liveweights.api.errors import ApiError
from liveweights.api.settings import RateLimits

MINUTE = 60.0


@dataclass(slots=True)
class Bucket:
    """A token bucket: ``limit`` may be taken at once, and comes back within a minute.

    Times are in seconds on any clock that does not go back.
    """

    limit: float
    level: float
    at: float

    def refill(self, now: float) -> None:
        self.level = min(self.limit, self.level + (now - self.at) * self.limit / MINUTE)
        self.at = now

    def wait(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` can be taken; more than the limit counts as the limit."""
        self.refill(now)
        missing = min(amount, self.limit) - self.level
        return max(0.0, missing * MINUTE / self.limit)

    def take(self, amount: float) -> None:
        """The level may become negative, by what a request used beyond the limit."""
        self.level -= amount

    def put(self, amount: float) -> None:
        self.level = min(self.limit, self.level + amount)

    def until_full(self, now: float) -> float:
        self.refill(now)
        return (self.limit - self.level) * MINUTE / self.limit


class Allowance:
    """What one key has left."""

    def __init__(self, limits: RateLimits, now: float) -> None:
        self.limits = limits
        self.running = 0
        self.buckets = {
            name: Bucket(limit, limit, now)
            for name, limit in (
                ("requests", limits.requests_per_minute),
                ("tokens", limits.tokens_per_minute),
            )
            if limit
        }

    def take(self, tokens: int, now: float) -> Permit:
        """Raises ApiError 429; then nothing was taken."""
        limit = self.limits.concurrency
        if limit and self.running >= limit:
            message = f"{limit} requests of this key are being answered; wait for one to end."
            raise too_many(message, "concurrency", 1.0, self.headers(now))
        amounts = {"requests": 1.0, "tokens": float(tokens)}
        for name, bucket in self.buckets.items():
            wait = bucket.wait(amounts[name], now)
            if wait > 0:
                message = (
                    f"The limit of {bucket.limit:g} {name} per minute is reached: "
                    f"{max(0, math.floor(bucket.level))} left, {amounts[name]:g} asked for. "
                    f"Try again in {wait:.3g} s."
                )
                raise too_many(message, name, wait, self.headers(now))
        for name, bucket in self.buckets.items():
            bucket.take(amounts[name])
        self.running += 1
        return Permit(self, tokens)

    def headers(self, now: float) -> tuple[tuple[bytes, bytes], ...]:
        """OpenAI's ``x-ratelimit-*``, for the limits that there are."""
        found: list[tuple[bytes, bytes]] = []
        for name, bucket in self.buckets.items():
            reset = bucket.until_full(now)
            for kind, value in (
                ("limit", f"{bucket.limit:g}"),
                ("remaining", str(max(0, math.floor(bucket.level)))),
                ("reset", duration(reset)),
            ):
                found.append((f"x-ratelimit-{kind}-{name}".encode(), value.encode()))
        return tuple(found)


@dataclass(slots=True)
class Permit:
    """What one request took from its key's allowance, until it is given back."""

    allowance: Allowance
    tokens: int

    def close(self, used: int) -> None:
        """The request has ended and used that many tokens: the rest is given back."""
        self.allowance.running -= 1
        if bucket := self.allowance.buckets.get("tokens"):
            bucket.put(self.tokens - used)


class Limiter:
    """The allowances of all keys. In memory: each API process counts for itself."""

    def __init__(
        self,
        limits: RateLimits,
        tenants: dict[str, RateLimits],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limits = limits
        self._tenants = tenants
        self._clock = clock
        self._allowances: dict[str, Allowance] = {}

    def take(self, key: str, tenant: str, tokens: int) -> Permit:
        """``tokens`` is the most that the request can use. Raises ApiError 429."""
        return self._allowance(key, tenant).take(tokens, self._clock())

    def headers(self, key: str, tenant: str) -> tuple[tuple[bytes, bytes], ...]:
        return self._allowance(key, tenant).headers(self._clock())

    def _allowance(self, key: str, tenant: str) -> Allowance:
        found = self._allowances.get(key)
        if found is None:
            limits = self._tenants.get(tenant, self._limits)
            found = self._allowances[key] = Allowance(limits, self._clock())
        return found


def too_many(
    message: str, kind: str, wait: float, headers: tuple[tuple[bytes, bytes], ...] = ()
) -> ApiError:
    """429, with how many whole seconds to wait."""
    retry = (b"retry-after", str(max(1, math.ceil(wait))).encode())
    code = "rate_limit_exceeded"
    return ApiError(429, message, type=kind, code=code, headers=(retry, *headers))


def duration(seconds: float) -> str:
    """As OpenAI writes it: ``6m0s``, ``1s``, ``20ms``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    whole = math.ceil(seconds)
    return f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{whole}s"
