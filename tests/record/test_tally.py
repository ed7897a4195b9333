"""What is counted before it is in Postgres is what Postgres would count."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from liveweights.record.binary import Row, bucket_start, decode, encode
from liveweights.record.tally import BINS, EDGES, histogram_bin, tally
from liveweights.store.partitions import day_of

from .rows import START, make_generation
from .test_binary import generations
from .test_rollups import DAY, differences, timed_id
from .test_writer import count, open_writer


def float4(number: float) -> float:
    return struct.unpack("f", struct.pack("f", number))[0]


def test_bins_are_those_of_the_database(database_dsn: str) -> None:
    """At every edge, right below it, and where the scale ends."""
    below = np.nextafter(EDGES, np.float32(0))
    times = [*map(float, EDGES), *map(float, below), -1.0, 0.0, 1.0, 3e38, float("inf")]
    with psycopg.connect(database_dsn) as conn:
        query = "select histogram_bin(ms) from unnest(%s::real[]) with ordinality t (ms, n)"
        theirs = [bin for (bin,) in conn.execute(query + " order by n", (times,)).fetchall()]
    ours = np.searchsorted(EDGES, np.array(times, np.float32), side="right")
    assert ours.tolist() == theirs
    assert theirs[: BINS - 1] == list(range(1, BINS))
    assert [histogram_bin(ms) for ms in times[:-1]] == theirs[:-1]


@given(st.lists(generations(), min_size=1, max_size=8))
def test_sums_and_cells_count_every_row_once(some: list[Any]) -> None:
    rows = [encode(g) for g in some]
    cost = {row.id: 3 * row.counts.output for row in rows}
    found = tally(rows, [cost[row.id] for row in rows])
    for group, counts in zip(found.groups, found.counts, strict=True):
        of_group = [row for row in rows if row.group == group]
        outcomes = [sum(row.outcome == outcome for row in of_group) for outcome in (1, 2, 3)]
        tokens = [sum(row.counts.prompt for row in of_group)]
        tokens.append(sum(row.counts.output for row in of_group))
        costs = sum(cost[row.id] for row in of_group)
        assert counts == [len(of_group), *outcomes, *tokens, costs]
        start = bucket_start(group)
        assert start.timestamp() % 300 == 0
        inside = [g for g, row in zip(some, rows, strict=True) if row.group == group]
        assert all(0 <= (g.created_at - start).total_seconds() < 300 for g in inside)
    for late in (False, True):
        cells = [n for n, of in zip(found.cells, found.late, strict=True) if of is late]
        assert sum(cells) == len(rows)


@given(generations(), st.sampled_from(["stop", "cancelled", "error"]))
def test_a_row_is_read_from_its_bytes(g: Any, reason: str) -> None:
    for usage in ({}, {"prompt_tokens": 7}, {"prompt_tokens": 7, "completion_tokens": 2**40}):
        row = encode(make_generation(g.id, output=g.output, usage=usage, finish_reason=reason))
        assert as_tuple(decode(row.data)) == as_tuple(row)


def as_tuple(row: Row) -> tuple[Any, ...]:
    times = float4(row.first_token_ms), float4(row.total_ms)
    counts = row.outcome, row.counts, row.created, row.key, row.withheld
    return row.id, row.day, row.data, row.group, counts, times


def test_token_counts_are_whole_numbers() -> None:
    odd: dict[str, Any] = {"prompt_tokens": 1.5}
    with pytest.raises(TypeError, match="not a whole number"):
        encode(make_generation("g", usage=odd))


def test_an_id_that_comes_twice_is_stored_and_counted_once(database_dsn: str) -> None:
    """In one batch, and in a later one."""

    async def main() -> None:
        async with open_writer(database_dsn, linger=3600.0, batch_rows=3) as (writer, _):
            for id, output in (("a", "first"), ("b", ""), ("a", "second")):
                await writer.add_generation(make_generation(id, output=output))
            await writer.flush()
            for id in ("b", "c", "d"):
                await writer.add_generation(make_generation(id))
            await writer.flush()

    asyncio.run(main())
    assert count(database_dsn, "generations") == 4
    with psycopg.connect(database_dsn) as conn:
        row = conn.execute("select output from generations where id = 'a'").fetchone()
    assert row == ("first",)
    assert differences(database_dsn) == []


@pytest.mark.parametrize(
    "id",
    [
        timed_id(DAY, 1),
        timed_id(START, 2) + "0",
        "x" + timed_id(DAY, 3).removeprefix("gen"),
        timed_id(DAY, 4).removeprefix("gen"),
        timed_id(DAY, 5).removeprefix("gen_"),
        timed_id(DAY, 6).upper(),
        timed_id(DAY, 7).replace("7000", "8000"),
        timed_id(DAY, 8)[:-1] + "g",
        timed_id(DAY, 9)[:-1] + "\n",
        timed_id(DAY, 10) + "\n",
        "ä_" + timed_id(DAY, 11),
        timed_id(DAY, 12).replace("_0", "_1"),
        "_0" * 17,
        "%",
        "",
    ],
)
def test_the_database_reads_the_same_day_from_an_id(database_dsn: str, id: str) -> None:
    with psycopg.connect(database_dsn) as conn:
        row = conn.execute("select generation_day(%s)", (id,)).fetchone()
    assert row == (day_of(id),)
