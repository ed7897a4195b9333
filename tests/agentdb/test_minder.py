from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.agentdb.commons import Commons, Disk, disk_of
from liveweights.agentdb.minder import (
    DISK_REASON,
    FAR_OVER,
    GROWTH,
    Sight,
    Wanted,
    judge,
    last_use,
    level_of,
)
from liveweights.agentdb.minder import wanted as wanted_with
from liveweights.agentdb.rows import Database, Level, State

CALM = Commons()
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
SIGHT = Sight(ROW, size=10, growth=0, sessions=0, active=0, admits=True, transactions=0)


def seen(sight: Sight = SIGHT, **changes: object) -> Sight:
    return replace(sight, database=replace(ROW, **changes))  # type: ignore[arg-type]


def wanted(sight: Sight, now: datetime, shared: Commons = CALM) -> Wanted:
    return wanted_with(sight, now, shared)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def test_a_database_in_use_stays_as_it_is() -> None:
    assert wanted(SIGHT, later(59)) == (State.READY, Level.OPEN, "")


def test_idle_is_paused() -> None:
    assert wanted(SIGHT, later(61))[0] is State.PAUSED
    assert wanted(replace(SIGHT, active=1), later(1000))[0] is State.READY
    assert wanted(seen(used_at=later(50)), later(61))[0] is State.READY
    assert wanted(replace(seen(used_at=later(1)), sessions=3), later(62))[0] is State.PAUSED


@pytest.mark.parametrize(
    ("active_at", "in_use", "expected"),
    [
        (None, False, NOW),
        (later(-5), False, NOW),
        (later(5), False, later(5)),
        (None, True, later(9)),
        (later(5), True, later(9)),
    ],
)
def test_use_is_what_sessions_that_are_open_and_those_that_came_tell(
    active_at: datetime | None, in_use: bool, expected: datetime
) -> None:
    assert last_use(NOW, active_at, later(9), in_use=in_use) == expected


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
        assert wanted(seen(state=state), later(1e6)) == (state, Level.OPEN, "")


def test_what_was_closed_is_open_again_when_the_reason_is_gone_also_while_it_is_paused() -> None:
    for state in (State.READY, State.PAUSED):
        sight = seen(state=state, level=Level.CLOSED, reason="it has 126 MiB")
        assert wanted(sight, NOW) == (state, Level.OPEN, "")


def test_far_over_its_size_it_is_closed_and_says_so() -> None:
    level, reason = judge(replace(SIGHT, size=200 * 2**20), Commons())
    assert (level, reason) == (Level.CLOSED, "it has 200 MiB, far more than its limit of 0 MiB")


def test_who_uses_up_what_all_share_is_closed_and_nobody_else() -> None:
    shared = Commons(blamed={ROW.id: "because"})
    assert judge(SIGHT, shared) == (Level.CLOSED, "because")
    assert judge(seen(id="db_111111111111"), shared) == (Level.OPEN, "")


def test_where_the_disk_is_scarce_those_that_grow_are_closed_until_there_is_room() -> None:
    growing = replace(SIGHT, growth=GROWTH + 1)
    closed = seen(level=Level.CLOSED, reason=DISK_REASON)
    for disk, of_growing, of_still, of_closed in (
        (Disk.AMPLE, Level.OPEN, Level.OPEN, Level.OPEN),
        (Disk.SHORT, Level.OPEN, Level.OPEN, Level.CLOSED),
        (Disk.SCARCE, Level.CLOSED, Level.OPEN, Level.CLOSED),
    ):
        shared = Commons(disk)
        assert judge(growing, shared)[0] is of_growing
        assert judge(replace(SIGHT, growth=GROWTH), shared)[0] is of_still
        assert judge(closed, shared)[0] is of_closed


@given(st.integers(0, 10**15), st.integers(0, 10**15))
def test_the_disk_is_scarce_below_half_of_what_is_kept_free(free: int, kept: int) -> None:
    disk = disk_of(free, kept)
    assert (disk is Disk.AMPLE) == (free >= kept)
    assert (disk is Disk.SCARCE) == (2 * free < kept)


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
