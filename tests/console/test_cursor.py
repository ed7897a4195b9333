from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.console.cursor import read_moment, read_number, write_moment
from liveweights.http.errors import ApiError

TIMES = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))


@given(TIMES, st.text(min_size=1, max_size=512))
def test_a_place_is_found_again(at: datetime, id: str) -> None:
    assert read_moment(write_moment(at, id)) == (at, id)


@given(st.text())
def test_any_other_text_is_refused_or_read(text: str) -> None:
    for read in (read_moment, read_number):
        with suppress(ApiError):
            read(text)


def test_the_beginning_is_no_text() -> None:
    assert read_moment(None) is None
    assert read_number(None) is None
    assert read_number("17") == 17
    for wrong in ("", "x", "-1", "٣", "1" * 19):
        with pytest.raises(ApiError, match="address"):
            read_number(wrong)
