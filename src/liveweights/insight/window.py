"""Which part of the data a question is about."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}
STEPS = {"5m": 5, "1h": 60, "1d": 1440}
"""What rollups exist, in minutes per bucket."""

EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
"""Far beyond any data, and near enough for sums of such times to be times everywhere."""


NOW = "now"
_RELATIVE = re.compile(r"(\d{1,6})([mhdw])", re.ASCII)


class WindowError(ValueError):
    """A time or a step that is not understood; the message says what would be."""


@dataclass(frozen=True, slots=True)
class Window:
    """From ``since`` to before ``until``, in buckets of ``width`` minutes. Both are on a bucket's
    edge, so that windows that adjoin have nothing twice; but the bucket of now is not over.

    None as ``alias`` or ``tenant`` means all of them.
    """

    since: datetime
    until: datetime
    width: int
    alias: str | None = None
    tenant: str | None = None


def parse_time(text: str, now: datetime) -> datetime:
    """``7d``, ``90m`` before ``now``, or a date or time as in ISO 8601 (UTC if it names no zone);
    in UTC, and from EARLIEST to LATEST.

    Raises WindowError.
    """
    if text == NOW:
        return now
    try:
        if match := _RELATIVE.fullmatch(text):
            moment = now - timedelta(seconds=int(match[1]) * UNITS[match[2]])
        else:
            moment = datetime.fromisoformat(text)
            moment = moment.replace(tzinfo=moment.tzinfo or UTC).astimezone(UTC)
    except ValueError:
        raise WindowError(
            f"{text[:50]!r} is not a time: write 90m, 12h, 7d or 2w for that long ago, or a date "
            "such as 2026-03-31 or 2026-03-31T12:00"
        ) from None
    except OverflowError:
        moment = None
    if moment is None or not EARLIEST <= moment <= LATEST:
        raise WindowError(
            f"{text[:50]!r} is outside of what can be asked about, {EARLIEST:%Y} to {LATEST:%Y}"
        )
    return moment


def make_window(
    since: str = "7d",
    until: str = NOW,
    step: str | None = None,
    *,
    alias: str | None = None,
    tenant: str | None = None,
    sum: bool = False,
    now: datetime | None = None,
) -> Window:
    """Without ``step`` the buckets are as fine as gives a few hundred of them; where the answer is
    a ``sum`` over all of them, as fine as given dates and times need, so that a month of any
    time zone is that month.

    ``since`` is moved back to its bucket's edge, and so is ``until``; an ``until`` in the bucket
    that ``now`` is in becomes ``now``, as what that bucket holds is. Raises WindowError.
    """
    now = now or datetime.now(UTC)
    start, end = parse_time(since, now), parse_time(until, now)
    _check(start, end)
    if step is None:
        span = end - start
        width = 5 if span <= timedelta(days=1) else 60 if span <= timedelta(days=15) else 1440
        if sum:
            edges = [
                at
                for text, at in ((since, start), (until, end))
                if not _RELATIVE.fullmatch(text) and at < now
            ]
            width = next(
                (w for w in (1440, 60) if w <= width and all(_is_edge(at, w) for at in edges)), 5
            )
    elif step in STEPS:
        width = STEPS[step]
    else:
        raise WindowError(f"{step[:50]!r} is not a step; there are {', '.join(STEPS)}")
    start = _edge_of(start, width)
    if end < now:
        edge = _edge_of(end, width)
        end = edge if edge < _edge_of(now, width) else now
    _check(start, end, f", in buckets of {width} minutes")
    return Window(start, end, width, alias, tenant)


def _check(start: datetime, end: datetime, how: str = "") -> None:
    if start >= end:
        raise WindowError(f"the window is empty: it begins at {start} and ends at {end}{how}")


def _edge_of(at: datetime, width: int) -> datetime:
    """The beginning of the bucket that it is in."""
    seconds = width * 60
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, UTC)


def _is_edge(at: datetime, width: int) -> bool:
    return _edge_of(at, width) == at
