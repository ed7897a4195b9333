"""What a tenant used and owes: ``GET /v1/usage`` and ``/v1/costs``, in the shapes of OpenAI's
``/v1/organization/usage/completions`` and ``/v1/organization/costs``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.connections import Connections
from liveweights.http.errors import bad_request
from liveweights.http.routes import Route, Routes
from liveweights.http.wire import read_query, reply
from liveweights.insight.questions import Charge, ChargeBy, charges
from liveweights.meter.limits import Limiter
from liveweights.meter.money import NANOS, NO_CURRENCY
from liveweights.serve.api.usage import (
    LATEST,
    Amount,
    CostBucket,
    CostPage,
    CostResult,
    UsageBucket,
    UsagePage,
    UsageResult,
)
from liveweights.store.database import Pool

PARAMETERS = ("start_time", "end_time", "bucket_width", "group_by", "limit", "page")
WIDTHS = {"1m": (60, 60, 1440), "1h": (3600, 24, 168), "1d": (86_400, 7, 31)}
"""Seconds of a bucket, and how many a page has: without being asked, and at most."""
USAGE_KEYS = ("model", "api_key_id")
COST_KEYS = ("line_item",)
COLUMNS: dict[str, ChargeBy] = {
    "model": "model",
    "line_item": "model",
    "api_key_id": "key",
    "currency": "currency",
}
"""What each of them is in the ledger."""


@dataclass(frozen=True, slots=True)
class Page:
    """From ``start`` (seconds since 1970) in ``count`` buckets of ``width`` seconds, before
    ``end``."""

    start: int
    end: int
    width: int
    count: int
    keys: tuple[str, ...]

    @property
    def stop(self) -> int:
        """Where its last bucket ends."""
        return min(self.end, self.start + self.count * self.width)

    @property
    def has_more(self) -> bool:
        return self.stop < self.end

    @property
    def next(self) -> str | None:
        return str(self.stop) if self.has_more else None


class BillingEndpoint:
    """Of the calling key's tenant; where no keys are asked for, of all requests. ``costs``: money
    instead of tokens."""

    def __init__(
        self,
        connections: Connections,
        authenticator: Authenticator,
        limiter: Limiter,
        *,
        costs: bool,
    ) -> None:
        self._connections = connections
        self._authenticator = authenticator
        self._limiter = limiter
        self._costs = costs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = await self._authenticator.authenticate(scope, use="insight")
        await self._limiter.charge(client, "reads")
        page = read_page(read_query(scope, PARAMETERS), costs=self._costs, now=int(time.time()))
        keys = ["currency", *page.keys] if self._costs else page.keys
        async with self._connections.take(client.tenant) as conn:
            rows = await charges(
                conn,
                datetime.fromtimestamp(page.start, UTC),
                datetime.fromtimestamp(page.stop, UTC),
                width=page.width,
                tenant=client.tenant,
                by={COLUMNS[key] for key in keys},
            )
        make = make_costs if self._costs else make_usage
        await reply(send, 200, msgspec.json.encode(make(page, rows)))


def read_page(given: dict[str, str], *, costs: bool, now: int) -> Page:
    """Raises ApiError 400."""
    name = given.get("bucket_width", "1d")
    widths = {"1d": WIDTHS["1d"]} if costs else WIDTHS
    if name not in widths:
        raise _wrong("bucket_width", name, f"one of {', '.join(widths)}")
    width, usual, most = widths[name]
    most = 180 if costs else most
    start = _number(given, "start_time", now - (usual - 1) * width)  # up to this one
    start = _number(given, "page", start)  # where the page before ended
    end = _number(given, "end_time", now)
    if start >= end:
        raise _wrong("start_time", str(start), f"before end_time, {end}")
    count = _number(given, "limit", usual)
    if not 1 <= count <= most:
        raise _wrong("limit", str(count), f"from 1 to {most}")
    keys = tuple(filter(None, given.get("group_by", "").split(",")))
    known = COST_KEYS if costs else USAGE_KEYS
    for key in keys:
        if key not in known:
            raise _wrong("group_by", key, f"among {', '.join(known)}")
    return Page(start - start % width, end, width, count, keys)


T = TypeVar("T")


def make_usage(page: Page, rows: Sequence[Charge]) -> UsagePage:
    results = [
        (
            one.bucket,
            UsageResult(
                input_tokens=one.prompt_tokens,
                output_tokens=one.output_tokens,
                input_cached_tokens=one.cached_tokens,
                num_model_requests=one.requests,
                api_key_id=one.key,
                model=one.model,
            ),
        )
        for one in rows
    ]
    data = [
        UsageBucket(start_time=start, end_time=end, results=those)
        for start, end, those in _buckets(page, results)
    ]
    return UsagePage(data=data, has_more=page.has_more, next_page=page.next)


def make_costs(page: Page, rows: Sequence[Charge]) -> CostPage:
    results = [
        (
            one.bucket,
            CostResult(
                amount=Amount(
                    value=one.nanos / NANOS, currency=(one.currency or NO_CURRENCY).lower()
                ),
                line_item=one.model,
            ),
        )
        for one in rows
    ]
    data = [
        CostBucket(start_time=start, end_time=end, results=those)
        for start, end, those in _buckets(page, results)
    ]
    return CostPage(data=data, has_more=page.has_more, next_page=page.next)


def _buckets(page: Page, numbered: Sequence[tuple[int, T]]) -> list[tuple[int, int, list[T]]]:
    """When each begins and ends, and what is in it; also those in which there was nothing."""
    results: dict[int, list[T]] = {}
    for number, result in numbered:
        results.setdefault(number, []).append(result)
    starts = range(page.start, page.stop, page.width)
    return [
        (start, min(start + page.width, page.end), results.get(number, []))
        for number, start in enumerate(starts)
    ]


def _number(given: dict[str, str], name: str, default: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    if not (text.isdecimal() and len(text) <= 10 and int(text) <= LATEST):
        raise _wrong(name, text, "a whole number, of a time seconds since 1970")
    return int(text)


def _wrong(name: str, value: str, wanted: str) -> Exception:
    return bad_request(f"'{name}' is {value[:50]!r}; it has to be {wanted}.", name)


def billing_routes(pool: Pool, authenticator: Authenticator, limiter: Limiter) -> Routes:
    connections = Connections(pool)
    return [
        Route(
            "GET",
            f"/v1/{name}",
            BillingEndpoint(connections, authenticator, limiter, costs=costs),
        )
        for name, costs in (("usage", False), ("costs", True))
    ]
