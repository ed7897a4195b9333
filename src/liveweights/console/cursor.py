"""Where the next page of a list begins, as a text in its address."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from liveweights.http.errors import ApiError, bad_request

PARAM = "before"
ANSWERS = 50
"""Of one page; a page stays below 100 KB."""
ROWS = 25
"""Of any other list."""

_MOMENT = re.compile(r"([0-9]{1,16})~(.{1,512})", re.ASCII | re.DOTALL)
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

T = TypeVar("T")


def cut_page(
    rows: Sequence[T], most: int, place: Callable[[T], str]
) -> tuple[tuple[T, ...], str | None]:
    """The first ``most`` of the rows that were read, and the ``place`` after the last of them where
    there are more: read one more than a page holds."""
    page = tuple(rows[:most])
    return page, place(page[-1]) if len(rows) > most else None


def write_moment(at: datetime, id: str) -> str:
    """The place after the row of that time (UTC) and id."""
    return f"{(at - _EPOCH) // timedelta(microseconds=1)}~{id}"


def read_moment(text: str | None) -> tuple[datetime, str] | None:
    """What ``write_moment`` wrote; None at the beginning. Raises ApiError 400."""
    if text is None:
        return None
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise _broken(text)
    return _EPOCH + timedelta(microseconds=int(match[1])), match[2]


def read_number(text: str | None) -> int | None:
    """The number of the row that the page follows; None at the beginning. Raises ApiError 400."""
    if text is None:
        return None
    if not _NUMBER.fullmatch(text):
        raise _broken(text)
    return int(text)


def _broken(text: str) -> ApiError:
    message = f"{PARAM!r} is {text[:50]!r}; take it from the address of a list's next page."
    return bad_request(message, PARAM)
