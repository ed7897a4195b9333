from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.databases.minder import FAR_OVER, Sight, level_of, wanted
from liveweights.databases.rows import Database, Level, State

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROW = Database(
    id="db_000000000000",
    owner="a",
    name="b",
    source=None,
    state=State.READY,
    level=Level.OPEN,
    size=10,
    size_limit=100,
    idle=60.0,
    created_at=NOW,
    expires_at=None,
    used_at=NOW,
)
SIGHT = Sight(ROW, size=10, sessions=0, active=0, active_at=None, admits=True, transactions=0)


def seen(sight: Sight = SIGHT, **changes: object) -> Sight:
    return replace(sight, database=replace(ROW, **changes))  # type: ignore[arg-type]


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_database_in_use_stays_as_it_is() -> None:
    assert wanted(SIGHT, later(59)) == (State.READY, Level.OPEN)


def test_idle_is_paused() -> None:
    assert wanted(SIGHT, later(61))[0] is State.PAUSED
    assert wanted(replace(SIGHT, active=1), later(1000))[0] is State.READY
    assert wanted(replace(SIGHT, active_at=later(50)), later(61))[0] is State.READY
    assert wanted(replace(SIGHT, sessions=3, active_at=later(1)), later(62))[0] is State.PAUSED


@pytest.mark.parametrize("state", [State.READY, State.PAUSED, State.FROZEN])
def test_expired_is_deleted(state: State) -> None:
    sight = seen(state=state, expires_at=later(10))
    assert wanted(sight, later(9.9))[0] is state
    assert wanted(sight, later(10))[0] is State.DELETING


@pytest.mark.parametrize("state", [State.CREATING, State.DELETING])
def test_what_nobody_finishes_is_deleted(state: State) -> None:
    assert wanted(seen(state=state), NOW)[0] is State.DELETING


def test_a_row_without_a_database_is_deleted() -> None:
    assert wanted(replace(SIGHT, admits=None), NOW)[0] is State.DELETING


def test_paused_and_frozen_are_left_alone() -> None:
    for state in (State.PAUSED, State.FROZEN):
        assert wanted(seen(state=state, level=Level.REDUCED), later(1e6)) == (state, Level.REDUCED)


@given(st.integers(0, 10**12), st.integers(1, 10**12))
def test_levels_follow_the_size(size: int, limit: int) -> None:
    level = level_of(size, limit)
    assert (level is Level.OPEN) == (size <= limit)
    assert (level is Level.CLOSED) == (size > FAR_OVER * limit)


@pytest.mark.parametrize(
    ("state", "level", "admits", "sessions", "expected"),
    [
        (State.READY, Level.OPEN, True, 2, True),
        (State.READY, Level.OPEN, False, 0, False),
        (State.READY, Level.CLOSED, True, 0, False),
        (State.PAUSED, Level.OPEN, False, 0, True),
        (State.PAUSED, Level.OPEN, False, 1, False),
        (State.PAUSED, Level.OPEN, True, 0, False),
        (State.FROZEN, Level.OPEN, False, 0, True),
        (State.DELETING, Level.OPEN, False, 0, False),
        (State.DELETING, Level.OPEN, None, 0, False),
    ],
)
def test_whether_postgres_agrees(
    state: State, level: Level, admits: bool | None, sessions: int, expected: bool
) -> None:
    sight = replace(seen(state=state, level=level), admits=admits, sessions=sessions)
    assert sight.consistent is expected
