"""What a tenant used and owes: ``GET /v1/usage`` and ``/v1/costs``, in the shapes of OpenAI's
``/v1/organization/usage/completions`` and ``/v1/organization/costs``."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.types import Receive, Scope, Send

from liveweights.http.authentication import Authenticator
from liveweights.http.errors import bad_request
from liveweights.http.routes import Route, Routes
from liveweights.http.wire import read_query, reply
from liveweights.insight.questions import sql
from liveweights.meter.limits import Limiter
from liveweights.meter.money import NANOS
from liveweights.store.database import Pool

PARAMETERS = ("start_time", "end_time", "bucket_width", "group_by", "limit", "page")
WIDTHS = {"1m": (60, 60, 1440), "1h": (3600, 24, 168), "1d": (86_400, 7, 31)}
"""Seconds of a bucket, and how many a page has: without being asked, and at most."""
USAGE_KEYS = ("model", "api_key_id")
COST_KEYS = ("line_item",)
LATEST = 7_258_118_400
"""The year 2200."""


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


class BillingEndpoint:
    """Of the calling key's tenant; where no keys are asked for, of all requests. ``costs``: money
    instead of tokens."""

    def __init__(
        self, pool: Pool, authenticator: Authenticator, limiter: Limiter, *, costs: bool
    ) -> None:
        self._pool = pool
        self._authenticator = authenticator
        self._limiter = limiter
        self._costs = costs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        client = await self._authenticator.authenticate(scope, use="insight")
        await self._limiter.charge(client, "reads")
        page = read_page(read_query(scope, PARAMETERS), costs=self._costs, now=int(time.time()))
        values = {
            "tenant": client.tenant,
            "start": page.start,
            "width": page.width,
            "since": datetime.fromtimestamp(page.start, UTC),
            "until": datetime.fromtimestamp(page.stop, UTC),
            "by_model": "model" in page.keys or "line_item" in page.keys,
            "by_key": "api_key_id" in page.keys,
        }
        async with self._pool.connection() as conn:
            cursor = await conn.execute(sql("charges").encode(), values)
            rows = await cursor.fetchall()
        make = _cost if self._costs else _usage
        await reply(send, 200, msgspec.json.encode(fill(page, rows, make)))


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


def fill(page: Page, rows: Sequence[tuple[Any, ...]], make: Any) -> dict[str, Any]:
    """OpenAI's page, with every bucket, also those in which there was nothing."""
    results: dict[int, list[dict[str, Any]]] = {}
    for bucket, *columns in rows:
        results.setdefault(bucket, []).append(make(*columns))
    starts = range(page.start, page.stop, page.width)
    more = page.stop < page.end
    return {
        "object": "page",
        "data": [
            {
                "object": "bucket",
                "start_time": start,
                "end_time": min(start + page.width, page.end),
                "results": results.get(number, []),
            }
            for number, start in enumerate(starts)
        ],
        "has_more": more,
        "next_page": str(page.stop) if more else None,
    }


def _usage(
    model: str | None,
    key: str | None,
    currency: str,
    requests: int,
    prompt: int,
    cached: int,
    output: int,
    nanos: int,
) -> dict[str, Any]:
    return {
        "object": "organization.usage.completions.result",
        "input_tokens": prompt,
        "output_tokens": output,
        "input_cached_tokens": cached,
        "input_audio_tokens": 0,
        "output_audio_tokens": 0,
        "num_model_requests": requests,
        "project_id": None,
        "user_id": None,
        "api_key_id": key,
        "model": model,
        "batch": None,
    }


def _cost(model: str | None, key: str | None, currency: str, *counts: int) -> dict[str, Any]:
    return {
        "object": "organization.costs.result",
        "amount": {"value": counts[-1] / NANOS, "currency": currency.lower()},
        "line_item": model,
        "project_id": None,
    }


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
    return [
        Route("GET", f"/v1/{name}", BillingEndpoint(pool, authenticator, limiter, costs=costs))
        for name, costs in (("usage", False), ("costs", True))
    ]
