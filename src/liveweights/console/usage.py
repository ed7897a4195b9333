"""The pages of what was used and charged, and of budgets."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal, get_args

import msgspec

from liveweights.console.cursor import PARAM, ROWS, cut_page, read_number
from liveweights.console.subject import Asked, Subject
from liveweights.http.errors import bad_request
from liveweights.insight.questions import Charge, charges
from liveweights.insight.window import Window, WindowError, make_window
from liveweights.meter.money import NO_CURRENCY
from liveweights.meter.spent import Spent, read_spent
from liveweights.store.database import Connection

By = Literal["tenant", "model", "key"]
SINCE = "30d"
DAY = timedelta(days=1)
LONGEST = timedelta(days=400)


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """What one tenant, model or key used and owes; ``nanos`` are billionths of ``currency``. An
    empty ``currency`` has no price."""

    name: str
    currency: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int
    nanos: int


class Day(msgspec.Struct, frozen=True, kw_only=True):
    """What was charged on the day that begins ``at`` (UTC)."""

    at: datetime
    currency: str
    requests: int
    nanos: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """From ``since`` to before ``until``: a page of ``lines``, what costs most first, and all
    ``days``; ``next`` is where the next page begins, None at the end."""

    since: datetime
    until: datetime
    asked: str
    by: By
    keys: tuple[By, ...]
    lines: tuple[Line, ...]
    days: tuple[Day, ...]
    next: str | None


class Budgets(msgspec.Struct, frozen=True, kw_only=True):
    """A page of the budgets that hold now, those that are nearest to their end first; ``next`` is
    where the next one begins, None at the end."""

    budgets: tuple[Spent, ...]
    next: str | None


async def read_usage(conn: Connection, subject: Subject, asked: Asked) -> Usage:
    """GET /usage and GET /usage.json. Raises ApiError 400."""
    keys: tuple[By, ...] = get_args(By)
    if asked.tenant is not None:
        keys = tuple(key for key in keys if key != "tenant")
    by = read_by(asked.get("by"), keys)
    since = asked.get("since") or SINCE
    window = read_window(since, asked.get("until"))
    found = await charges(
        conn,
        window.since,
        window.until,
        width=int(DAY.total_seconds()),
        tenant=asked.tenant,
        by=(by, "currency"),
    )
    passed = read_number(asked.get(PARAM)) or 0
    lines = sum_lines(found, by)[passed : passed + ROWS + 1]
    shown, more = cut_page(lines, ROWS, lambda _: str(passed + ROWS))
    return Usage(
        since=window.since,
        until=window.until,
        asked=since,
        by=by,
        keys=keys,
        lines=shown,
        days=sum_days(found, window.since),
        next=more,
    )


async def read_budgets(conn: Connection, subject: Subject, asked: Asked) -> Budgets:
    """GET /budgets and GET /budgets.json. Raises ApiError 400."""
    passed = read_number(asked.get(PARAM)) or 0
    spent = await read_spent(conn, datetime.now(UTC), asked.tenant)
    shown, more = cut_page(spent[passed : passed + ROWS + 1], ROWS, lambda _: str(passed + ROWS))
    return Budgets(budgets=shown, next=more)


def read_by(text: str | None, keys: Sequence[By]) -> By:
    """The first of ``keys`` where nothing is said. Raises ApiError 400."""
    for key in keys:
        if text in (None, key):
            return key
    shown = (text or "")[:50]
    raise bad_request(f"'by' is {shown!r}; there are {', '.join(keys)}.", "by")


def read_window(since: str, until: str | None) -> Window:
    """Whole days (UTC). Raises ApiError 400."""
    try:
        window = make_window(since, until or "now", "1d")
    except WindowError as error:
        raise bad_request(f"{error}.", "since") from None
    if window.until - window.since > LONGEST:
        raise bad_request(f"A page is about {LONGEST.days} days at most.", "since")
    return window


def sum_lines(found: Sequence[Charge], by: By) -> list[Line]:
    """A line for each name and currency, the largest amount first, then the most tokens."""
    sums: defaultdict[tuple[str, str], list[int]] = defaultdict(lambda: [0] * 5)
    for one in found:
        counts = sums[getattr(one, by) or "", _currency(one)]
        values = (one.requests, one.prompt_tokens, one.cached_tokens, one.output_tokens, one.nanos)
        for place, value in enumerate(values):
            counts[place] += value
    names = Line.__struct_fields__[2:]
    lines = [
        Line(name=name, currency=currency, **dict(zip(names, counts, strict=True)))
        for (name, currency), counts in sums.items()
    ]
    return sorted(
        lines,
        key=lambda one: (-one.nanos, -one.prompt_tokens - one.output_tokens, one.name),
    )


def sum_days(found: Sequence[Charge], since: datetime) -> tuple[Day, ...]:
    """By day and currency, in order; days without a charge are not in it."""
    sums: defaultdict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0])
    for one in found:
        counts = sums[one.bucket, _currency(one)]
        counts[0] += one.requests
        counts[1] += one.nanos
    return tuple(
        Day(at=since + bucket * DAY, currency=currency, requests=requests, nanos=nanos)
        for (bucket, currency), (requests, nanos) in sorted(sums.items())
    )


def _currency(one: Charge) -> str:
    return "" if one.currency in (None, NO_CURRENCY) else one.currency
