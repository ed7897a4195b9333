"""How much one API key may ask for: per minute, and at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from liveweights.meter.keys import Client
from liveweights.meter.settings import RateLimits

MINUTE = 60.0


class LimitReached(Exception):
    """A key has used up its limit ``name``; in ``wait`` seconds there is enough again. ``headers``
    say what it has left."""

    def __init__(
        self, message: str, name: str, wait: float, headers: tuple[tuple[bytes, bytes], ...] = ()
    ) -> None:
        super().__init__(message)
        self.name = name
        self.wait = wait
        self.headers = headers


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


ANSWERS = ("requests", "tokens")
"""What an answer takes, and tells of."""


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
                ("feedback", limits.feedback_per_minute),
                ("reads", limits.reads_per_minute),
            )
            if limit
        }

    def begin(self, now: float) -> None:
        """A request for an answer comes in. Raises LimitReached; then nothing was taken."""
        limit = self.limits.concurrency
        if limit and self.running >= limit:
            message = f"{limit} requests of this key are being answered; wait for one to end."
            raise LimitReached(message, "concurrency", 1.0, self.headers(now))
        self.check("tokens", 0, now)  # what was used beyond the limit has to come back first
        self.take("requests", 1, now)
        self.running += 1

    def check(self, name: str, amount: float, now: float) -> None:
        """Raises LimitReached unless so much is left."""
        bucket = self.buckets.get(name)
        if bucket is None or (wait := bucket.wait(amount, now)) <= 0:
            return
        message = (
            f"The limit of {bucket.limit:g} {name} per minute is reached: "
            f"{max(0, math.floor(bucket.level))} left, {amount:g} asked for. "
            f"Try again in {wait:.3g} s."
        )
        raise LimitReached(message, name, wait, self.headers(now))

    def take(self, name: str, amount: float, now: float) -> None:
        """Raises LimitReached; then nothing was taken."""
        self.check(name, amount, now)
        if bucket := self.buckets.get(name):
            bucket.take(amount)

    def headers(self, now: float) -> tuple[tuple[bytes, bytes], ...]:
        """OpenAI's ``x-ratelimit-*``, for the limits that there are."""
        pairs: list[tuple[bytes, bytes]] = []
        for name in ANSWERS:
            if (bucket := self.buckets.get(name)) is None:
                continue
            reset = bucket.until_full(now)
            for kind, value in (
                ("limit", f"{bucket.limit:g}"),
                ("remaining", str(max(0, math.floor(bucket.level)))),
                ("reset", duration(reset)),
            ):
                pairs.append((f"x-ratelimit-{kind}-{name}".encode(), value.encode()))
        return tuple(pairs)


class Permit:
    """What one request for an answer takes of its key's allowance, from the door to its end."""

    __slots__ = ("_allowance", "_clock", "read", "reserved", "used")

    def __init__(self, allowance: Allowance, clock: Callable[[], float]) -> None:
        self._allowance = allowance
        self._clock = clock
        self.reserved = 0
        """Tokens that it may use."""
        self.read = 0
        """Tokens of prompts that have been read."""
        self.used = 0
        """Tokens that are charged in the end."""

    def reserve(self, tokens: int) -> None:
        """It can use so many in all, however many were reserved before. Raises LimitReached."""
        bucket = self._allowance.buckets.get("tokens")
        if bucket is not None:
            now = self._clock()
            bucket.refill(now)
            bucket.put(self.reserved)
            try:
                self._allowance.check("tokens", tokens, now)
            except LimitReached:
                bucket.take(self.reserved)
                raise
            bucket.take(tokens)
        self.reserved = tokens

    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return self._allowance.headers(self._clock())

    def withdraw(self) -> None:
        """It goes on as a request with a permit of its own, and counts as that one only; to be
        closed none the less."""
        if bucket := self._allowance.buckets.get("requests"):
            bucket.put(1)

    def close(self) -> None:
        """The request has ended: what it has not used is given back."""
        self._allowance.running -= 1
        if bucket := self._allowance.buckets.get("tokens"):
            bucket.put(self.reserved - self.used)


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
        self._unlimited = Allowance(RateLimits(), clock())

    def begin(self, client: Client) -> Permit:
        """A request for an answer comes in; close what this returns. Raises LimitReached."""
        allowance = self._allowance(client)
        allowance.begin(self._clock())
        return Permit(allowance, self._clock)

    def charge(self, client: Client, name: Literal["feedback", "reads"], amount: int = 1) -> None:
        """Raises LimitReached; then nothing was taken."""
        self._allowance(client).take(name, amount, self._clock())

    def _allowance(self, client: Client) -> Allowance:
        if client.own:
            return self._unlimited
        allowance = self._allowances.get(client.key)
        if allowance is None:
            limits = self._tenants.get(client.tenant, self._limits)
            allowance = self._allowances[client.key] = Allowance(limits, self._clock())
        return allowance


def duration(seconds: float) -> str:
    """As OpenAI writes it: ``6m0s``, ``1s``, ``20ms``."""
    if seconds < 1:
        return f"{math.ceil(seconds * 1000)}ms"
    whole = math.ceil(seconds)
    return f"{whole // 60}m{whole % 60}s" if whole >= 60 else f"{whole}s"
