"""Cycles to claim rows."""

from __future__ import annotations

import json
from collections.abc import Callable

import psycopg
import pytest


@pytest.fixture
def begin_cycle(database_dsn: str) -> Callable[[], int]:
    """Open a cycle of the alias ``live`` and return its id."""
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, card) values "
            "('base@000000000000', 'base', '/nowhere', '{}')"
        )
        conn.execute("insert into aliases (name, live) values ('live', 'base@000000000000')")

    def begin() -> int:
        with psycopg.connect(database_dsn) as conn:
            row = conn.execute(
                "insert into cycles (alias, state, incumbent, settings) values "
                "('live', 'claim', 'base@000000000000', %s) returning id",
                (json.dumps({}),),
            ).fetchone()
            assert row is not None
            return row[0]

    return begin


@pytest.fixture
def end_cycle(database_dsn: str) -> Callable[..., None]:
    def end(cycle: int, outcome: str, candidate: str | None = None) -> None:
        with psycopg.connect(database_dsn) as conn:
            conn.execute(
                "update cycles set outcome = %s, candidate = %s, ended_at = now() where id = %s",
                (outcome, candidate, cycle),
            )

    return end
