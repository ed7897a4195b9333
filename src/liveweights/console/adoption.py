"""The page of adoption: who is used, here week by week and in the world as published."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Literal, get_args

import msgspec

from liveweights.adoption.own import Week
from liveweights.adoption.relative import Relative, Tracked, list_relative
from liveweights.adoption.rows import read_snapshots
from liveweights.adoption.snapshots import Snapshot
from liveweights.console.cursor import PARAM, ROWS, cut_page, read_number
from liveweights.console.exposure import Point, begin_of
from liveweights.console.subject import Asked, Subject
from liveweights.console.usage import read_window
from liveweights.http.errors import ApiError, bad_request
from liveweights.store.database import Connection

By = Literal["country", "maker", "family"]
QUERY = ("by", "since", PARAM)
SINCE = "12w"


class Adoption(msgspec.Struct, frozen=True, kw_only=True):
    """What models of each country, maker or family had of this service by week, as ``points`` of
    a plot the share of its answers; and a page of the published figures (`relative`), the highest
    first. ``next`` is where the next one begins, None at the end."""

    by: By
    keys: tuple[By, ...]
    since: str
    weeks: tuple[Week, ...]
    points: tuple[Point, ...]
    relative: tuple[Relative, ...]
    next: str | None


async def read_adoption(conn: Connection, subject: Subject, asked: Asked) -> Adoption:
    """GET /adoption and GET /adoption.json. Raises ApiError 400, 409 where the catalogue is not
    understood."""
    by, since = read_by(asked.get("by")), asked.get("since") or SINCE
    window = read_window(since, None)
    passed = read_number(asked.get(PARAM)) or 0
    try:
        weeks = await subject.sources.read_weeks(conn, window, by)
        tracked = await subject.sources.list_tracked()
    except ValueError as error:
        raise ApiError(409, f"{error}", code="catalogue_refused") from None
    ordered = await asyncio.to_thread(_order, tracked, await read_snapshots(conn))
    shown, more = cut_page(ordered[passed : passed + ROWS + 1], ROWS, lambda _: str(passed + ROWS))
    return Adoption(
        by=by,
        keys=get_args(By),
        since=since,
        weeks=weeks,
        points=tuple(
            Point(at=begin_of(one.week), name=one.value, rate=one.answer_share) for one in weeks
        ),
        relative=shown,
        next=more,
    )


def _order(tracked: Iterable[Tracked], snapshots: Iterable[Snapshot]) -> list[Relative]:
    """The published figures, the highest of each size and day first."""
    published = list_relative(tracked, snapshots)
    return sorted(published, key=lambda one: (one.size, one.day, -one.score, one.model))


def read_by(text: str | None) -> By:
    """Raises ApiError 400."""
    keys: tuple[By, ...] = get_args(By)
    for key in keys:
        if text in (None, key):
            return key
    raise bad_request(f"'by' is {(text or '')[:50]!r}; there are {', '.join(keys)}.", "by")
