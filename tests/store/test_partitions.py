from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.record.test_window import ask

from liveweights.record.engine_metrics import Sample, keep_sample
from liveweights.serve.api.identifiers import make_id
from liveweights.store.database import Connection
from liveweights.store.partitions import UNDATED, day_of, drop_before, ensure

hexes = st.text("0123456789abcdefA", min_size=30, max_size=34)
ids = st.one_of(
    st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=40),
    st.builds("gen_{}".format, hexes),
    st.builds("gen_0{:011x}7{:019x}".format, st.integers(0, 2**44 - 1), st.integers(0, 2**76 - 1)),
)


def test_our_own_ids_carry_their_day() -> None:
    before = datetime.now(UTC).date()
    made = make_id("gen")
    assert before <= day_of(made) <= datetime.now(UTC).date()
    assert day_of("gen_1") == UNDATED


@settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(ids, max_size=20))
def test_the_database_reads_the_same_day(database_dsn: str, some: list[str]) -> None:
    with psycopg.connect(database_dsn) as conn:
        query = "select generation_day(id) from unnest(%s::text[]) id"
        found = [day for (day,) in conn.execute(query, (some,))]
    assert found == [day_of(id) for id in some]


def test_partitions_are_made_once_and_take_rows_of_their_day(database_dsn: str) -> None:
    days = [date(2026, 5, 1), date(2026, 5, 3), UNDATED]
    assert ask(database_dsn, lambda conn: ensure(conn, days)) == 6
    assert ask(database_dsn, lambda conn: ensure(conn, days)) == 0
    with psycopg.connect(database_dsn) as conn:
        names = {name for (name,) in conn.execute("select relname::text from pg_class")}
    assert {"generations_20260501", "feedback_20260503"} <= names
    assert "generations_20260502" not in names


def test_a_lookup_by_id_reads_one_partition(database_dsn: str) -> None:
    ask(database_dsn, lambda conn: ensure(conn, [date(2026, 5, day) for day in range(1, 9)]))
    id = f"gen_{int(datetime(2026, 5, 3, tzinfo=UTC).timestamp()) * 1000:012x}7{1:019x}"
    with psycopg.connect(database_dsn) as conn:
        query = "explain select * from generations where day = %s and id = %s"
        plan = "\n".join(line for (line,) in conn.execute(query, (day_of(id), id)))
    assert "generations_20260503" in plan
    assert plan.count("generations_2026") == plan.count("generations_20260503")


@pytest.mark.parametrize("width", ["5 minutes", "1 hour", "1 day"])
def test_grouping_by_time_hashes(database_dsn: str, width: str) -> None:
    """Without statistics on the expression the planner expects a group per row, and sorts."""
    rows = (
        "insert into generations select 'g' || n, timestamptz '2026-01-01' + n * interval '1 s',"
        " 'a', 'c', 'chat', '{}', '{}', '{}', '{}', '', 'stop', 1, 1, null, 1, 't', null, null, '',"
        " '', true, '', 1, 1, '{}' from generate_series(1, 60000) n"
    )
    with psycopg.connect(database_dsn) as conn:
        conn.execute(rows.encode())
        conn.execute("analyze generations")
        conn.execute("set work_mem = '64kB'")
        query = (
            f"explain select date_bin('{width}', created_at, 'epoch'::timestamptz), count(*)"
            " from generations group by 1"
        )
        plan = "\n".join(line for (line,) in conn.execute(query.encode()))
    assert "HashAggregate" in plan


def test_old_samples_go_by_the_day(database_dsn: str) -> None:
    first = date(2026, 2, 1)

    async def go(conn: Connection) -> list[int]:
        await ensure(conn, [first + timedelta(days=n) for n in range(3)])
        for hour in (0, 23, 24, 47, 48):  # two, two and one
            at = datetime(2026, 2, 1, tzinfo=UTC) + timedelta(hours=hour)
            await keep_sample(
                conn, Sample(at=at, instance="i", slots=1, running=0, waiting=0, in_use={})
            )
        left: list[int] = []
        for days, dropped in ((0, 0), (1, 1), (1, 0), (9, 2)):
            day = first + timedelta(days=days)
            assert await drop_before(conn, "engine_metrics", day) == dropped
            cursor = await conn.execute("select count(*) from engine_metrics")
            left.append((await cursor.fetchone())[0])  # type: ignore[index]
        return left

    assert ask(database_dsn, go) == [5, 3, 3, 0]
