"""What a batch of generations adds to the rollups, counted before it is in Postgres."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import LiteralString

import msgspec
import numpy as np

from liveweights.record.binary import Group, Row, bucket_start
from liveweights.store.database import Connection

BINS = 128
_PER_OCTAVE = 5.770780163555854  # 4 / ln 2


def histogram_bin(ms: float) -> int:
    """As the function of that name in the database: bin b holds [2^(b/4), 2^((b+1)/4))."""
    return min(BINS - 1, math.floor(math.log(max(ms, 1.0)) * _PER_OCTAVE))


def _first_of(bin: int) -> np.float32:
    """The least float4 in ``bin``, which is within one of the power's rounding."""
    ms = np.nextafter(np.float32(2 ** (bin / 4)), np.float32(0))
    while histogram_bin(float(ms)) < bin:
        ms = np.nextafter(ms, np.float32(np.inf))
    return ms


EDGES = np.array([_first_of(bin) for bin in range(1, BINS)], np.float32)
"""Where bins 1 to 127 begin. Times are float4 in the tables, and are counted as such."""

STAGE: LiteralString = """
create temp table if not exists staged_counts (
    number int not null, at timestamptz not null,
    alias text not null, checkpoint text not null, tenant text not null, surface text not null,
    counts bigint[] not null
) on commit delete rows
"""

STAGE_COUNTS = """
insert into staged_counts
select * from json_to_recordset(%(groups)s::json) groups (
    number int, at timestamptz, alias text, checkpoint text, tenant text, surface text,
    counts bigint[]
)
"""

# In one order for everybody, and not even tried where it is known: see `rollups`.
INSERT_SERIES: tuple[LiteralString, LiteralString] = (
    """
insert into series (alias, checkpoint)
select alias, checkpoint from (
    select distinct alias, checkpoint from staged_counts
) wanted
where not exists (
    select from series s where (s.alias, s.checkpoint) = (wanted.alias, wanted.checkpoint)
        and s.tenant is null and s.surface is null
)
order by alias, checkpoint
on conflict do nothing
""",
    """
insert into series (alias, checkpoint, tenant, surface, whole_id)
select wanted.alias, wanted.checkpoint, wanted.tenant, wanted.surface, whole.id from (
    select distinct alias, checkpoint, tenant, surface from staged_counts
) wanted
join series whole using (alias, checkpoint)
where whole.tenant is null and whole.surface is null and not exists (
    select from series s where (s.alias, s.checkpoint, s.tenant, s.surface)
        = (wanted.alias, wanted.checkpoint, wanted.tenant, wanted.surface)
)
order by 1, 2, 3, 4
on conflict do nothing
""",
)

STAGE_ROLLUPS: LiteralString = """
insert into staged_rollups (at, series, generations, silent, cancelled, failed,
    prompt_tokens, output_tokens, cost_nanos)
select at, series.id, counts[1], counts[2], counts[3], counts[4], counts[5], counts[6], counts[7]
from staged_counts join series using (alias, checkpoint, tenant, surface)
"""

STAGE_HISTOGRAMS = """
insert into staged_histograms (at, series, measure, bin, count)
select at, series.id, case when late then 'total' else 'first_token' end::measure, bin, count
from unnest(
    %(numbers)s::int[], %(late)s::boolean[], %(bins)s::smallint[], %(counts)s::bigint[]
) cells (number, late, bin, count)
join staged_counts using (number)
join series using (alias, checkpoint, tenant, surface)
"""


class Tally(msgspec.Struct, frozen=True):
    """Sums per group, and how many of a group's times are in a bin.

    ``counts`` has a row per group: generations, and of those silent, cancelled, failed; prompt
    tokens, output tokens, cost in billionths. The four lists have an entry per cell of
    the histograms that is not empty: the group's place in ``groups``, whether it is of the time
    in all (or of that to the first token), the bin, and the count.
    """

    groups: list[Group]
    counts: list[list[int]]
    numbers: list[int]
    late: list[bool]
    bins: list[int]
    cells: list[int]


def tally(rows: Sequence[Row], costs: Sequence[int]) -> Tally:
    """Count ``rows``, which cost so many nanos each. Raises OverflowError for a number beyond 64
    bits."""
    places: dict[Group, int] = {}
    place_R = np.array([places.setdefault(row.group, len(places)) for row in rows])
    counts_GC = np.zeros((len(places), 7), np.int64)
    outcome_R = np.array([row.outcome for row in rows], np.int64)
    np.add.at(counts_GC, (place_R, outcome_R), 1)
    counts_GC[:, 0] = np.bincount(place_R)  # of any outcome
    for column, numbers in (
        (4, [row.counts.prompt for row in rows]),
        (5, [row.counts.output for row in rows]),
        (6, costs),
    ):
        np.add.at(counts_GC[:, column], place_R, np.array(numbers, np.int64))
    times = [row.first_token_ms for row in rows], [row.total_ms for row in rows]
    times_R2 = np.array(times, np.float32).T
    bins_R2 = np.searchsorted(EDGES, times_R2, side="right")
    cells_R2 = (place_R[:, None] * 2 + np.arange(2)) * BINS + bins_R2
    cells, sizes = np.unique(cells_R2, return_counts=True)
    measures, bins = np.divmod(cells, BINS)
    return Tally(
        groups=list(places),
        counts=counts_GC.tolist(),
        numbers=(measures // 2).tolist(),
        late=(measures % 2 == 1).tolist(),
        bins=bins.tolist(),
        cells=sizes.tolist(),
    )


async def stage(conn: Connection, tally: Tally) -> None:
    """Put it into the temporary tables of ``rollups``, with the series that were not known yet."""
    groups = [
        {
            **dict(zip(("alias", "checkpoint", "tenant", "surface"), group[1:], strict=True)),
            "number": number,
            "at": bucket_start(group),
            "counts": counts,
        }
        for number, (group, counts) in enumerate(zip(tally.groups, tally.counts, strict=True))
    ]
    await conn.execute(STAGE_COUNTS, {"groups": msgspec.json.encode(groups).decode()})
    for statement in INSERT_SERIES:
        await conn.execute(statement)
    await conn.execute(STAGE_ROLLUPS)
    cells = {"numbers": tally.numbers, "late": tally.late, "bins": tally.bins}
    await conn.execute(STAGE_HISTOGRAMS, {**cells, "counts": tally.cells})
