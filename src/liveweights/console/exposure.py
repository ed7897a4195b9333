"""The page of exposure: whose models carry the service, and what if they go away."""

from __future__ import annotations

from datetime import UTC, date, datetime, time

import msgspec

from liveweights.console.subject import Asked, Subject
from liveweights.console.usage import read_window
from liveweights.exposure.report import Exposure
from liveweights.exposure.without import WithoutError, parse_without
from liveweights.http.errors import ApiError, bad_request
from liveweights.store.database import Connection

QUERY = ("since", "without")
SINCE = "30d"
SHOWN = 25
"""Values of a dimension on the page; its JSON has all of them."""


class Point(msgspec.Struct, frozen=True, kw_only=True):
    """What a plot draws: a share or an index in [0, 1] of ``name`` at a time."""

    at: datetime
    name: str
    rate: float


class Exposed(msgspec.Struct, frozen=True, kw_only=True):
    """The report of the command, and what was asked for: ``asked`` is what is imagined to be gone,
    as it was written. ``points`` are how concentrated the answers of each week were."""

    exposure: Exposure
    since: str
    asked: str
    points: tuple[Point, ...]
    shown: int = SHOWN


async def read_exposure(conn: Connection, subject: Subject, asked: Asked) -> Exposed:
    """GET /exposure and GET /exposure.json; ``without`` is one or several NAME=VALUE with commas
    between. Raises ApiError 400, 409 where the catalogue is not understood."""
    since, told = asked.get("since") or SINCE, asked.get("without") or ""
    window = read_window(since, None)
    try:
        gone = [parse_without(one) for one in told.split(",") if one.strip()]
    except WithoutError as error:
        raise bad_request(f"{error}.", "without") from None
    try:
        report = await subject.sources.read_exposure(conn, window, gone)
    except WithoutError as error:
        raise bad_request(f"{error}.", "without") from None
    except ValueError as error:
        raise ApiError(409, f"{error}", code="catalogue_refused") from None
    return Exposed(
        exposure=report,
        since=since,
        asked=told,
        points=tuple(
            Point(at=begin_of(one.week), name=name, rate=one.index)
            for name, weeks in report.concentration.items()
            for one in weeks
        ),
    )


def begin_of(day: date) -> datetime:
    """In UTC."""
    return datetime.combine(day, time(), UTC)
