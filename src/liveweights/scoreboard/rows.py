"""The tables of scores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence

import msgspec

from liveweights.gate.suites.run import REFUSED
from liveweights.scoreboard.results import (
    OWN,
    Conditions,
    Result,
    Run,
    ScoreboardError,
    Scored,
    StandingScore,
)
from liveweights.store.database import Connection

_CONDITIONS = Conditions.__struct_fields__
_NAMES = ("model", "checkpoint", "hardware", *_CONDITIONS)
BEGUN = "exists (select from score_results where run = score_runs.id)"
OPEN = f"""
insert into score_runs ({", ".join(_NAMES)}, currency)
values ({", ".join(f"%({name})s" for name in _NAMES)}, %(currency)s)
on conflict (source, suite, version, content, harness, samples, cases, seconds, temperature,
    max_tokens, seed, repeat, runner, model, checkpoint)
do update set
    hardware = case when {BEGUN} then score_runs.hardware else excluded.hardware end,
    currency = case when {BEGUN} then score_runs.currency else excluded.currency end
returning id, hardware, currency, (select count(*) from score_results where run = score_runs.id)
""".encode()
KEEP = """
insert into score_results (run, case_id, sample, case_group, score, seconds, prompt_tokens,
    completion_tokens, nanos, detail)
values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (run, case_id, sample) do nothing
"""
RUNS = f"select id, created_at, currency, {', '.join(_NAMES)} from score_runs order by id".encode()
SCORES = """
select run, case_id, sample, case_group, score, seconds, prompt_tokens, completion_tokens, nanos,
    detail
from score_results where run = any(%s)
"""

STANDING = """
with whole as (
    select r.id, r.suite, r.model, r.checkpoint,
        (r.version, r.content, r.harness, r.samples, r.cases, r.seconds, r.temperature,
        r.max_tokens, r.seed, r.runner)::text as conditions, avg(s.score) as score
    from score_runs r join score_results s on s.run = r.id
    where r.source = %(own)s and r.repeat = 0 and r.model = any(%(models)s)
        and (r.model <> all(%(local)s) or (r.model, r.checkpoint) in (
            select * from unnest(%(local)s::text[], %(live)s::text[])))
    group by r.id
    having count(*) = r.cases * r.samples and not bool_and(starts_with(s.detail, %(refused)s))
), latest as (
    select distinct on (suite, conditions, model) * from whole order by suite, conditions, model,
        id desc
), chosen as (
    select distinct on (suite) suite, conditions from latest
    group by suite, conditions order by suite, count(*) desc, max(id) desc
)
select model, checkpoint, suite, score from latest join chosen using (suite, conditions)
order by suite, model
"""


async def open_run(conn: Connection, run: Run, currency: str | None = None) -> int:
    """The id of a run; one under the same conditions is gone on with. Raises ScoreboardError where
    a part of that was answered by other hardware, or has a price in another ``currency``: seconds
    and prices of both would be told as one's."""
    values = {
        "model": run.model,
        "checkpoint": run.checkpoint,
        "hardware": run.hardware,
        "currency": currency,
        **msgspec.structs.asdict(run.conditions),
    }
    row = await (await conn.execute(OPEN, values)).fetchone()
    assert row is not None
    id_, hardware, before, count = row
    if count >= run.conditions.cases * run.conditions.samples:
        return id_
    which = f"run {id_} of {run.model} on {run.conditions.suite} was begun"
    anew = f"`liveweights scoreboard remove {id_}` begins it anew"
    if hardware != run.hardware:
        raise ScoreboardError(
            f"{which} on {hardware}, and what answers now is {run.hardware}: go on there, or say"
            f" --hardware where it is the same. {anew}"
        )
    if before and currency and before != currency:
        raise ScoreboardError(
            f"{which} at prices in {before}, and they are in {currency} now: what a solved task"
            f" costs is in one currency only. Set [prices] of the model in {before}. {anew}"
        )
    return id_


async def keep_results(conn: Connection, run: int, results: Iterable[Result]) -> None:
    """Store attempts; one that is there already stays as it is."""
    rows = [
        (run, one.case, one.sample, one.group, one.score, one.seconds, one.prompt_tokens,
         one.completion_tokens, one.nanos, one.detail)
        for one in results
    ]  # fmt: skip
    async with conn.cursor() as cursor:
        await cursor.executemany(KEEP, rows)


async def add_results(conn: Connection, run: int, results: Sequence[Result]) -> int:
    """Store results that others say, and how many of them are new. Raises ScoreboardError where
    another score of a case is kept: neither is known to be the right one."""
    kept = await read_run(conn, run)
    there = [one for one in results if (one.case, one.sample) in kept]
    other = [one for one in there if kept[one.case, one.sample].score != one.score]
    if other:
        first, more = other[0], f", and {len(other) - 1} more" if len(other) > 1 else ""
        raise ScoreboardError(
            f"{first.case} scored {kept[first.case, first.sample].score:g} in run {run}, and"
            f" {first.score:g} here{more}; where these are the right ones remove the others before:"
            f" liveweights scoreboard remove {run}"
        )
    await keep_results(conn, run, results)
    return len(results) - len(there)


async def read_run(conn: Connection, run: int) -> dict[tuple[str, int], Result]:
    """What is kept of one run, by case and sample."""
    return {(one.case, one.sample): one async for _, one in _read(conn, [run])}


async def read_scored(conn: Connection, suites: Iterable[str] = ()) -> list[Scored]:
    """Every run, oldest first, with its results; of ``suites`` only, where some are given."""
    wanted = set(suites)
    runs = [
        (id_, created, currency, _run(values))
        for id_, created, currency, *values in await (await conn.execute(RUNS)).fetchall()
    ]
    runs = [one for one in runs if not wanted or one[3].conditions.suite in wanted]
    results: defaultdict[int, dict[tuple[str, int], Result]] = defaultdict(dict)
    async for run, result in _read(conn, [id_ for id_, *_ in runs]):
        results[run][result.case, result.sample] = result
    return [
        Scored(id=id_, run=run, created_at=created, currency=currency, results=results[id_])
        for id_, created, currency, run in runs
    ]


async def read_standing(
    conn: Connection, models: Iterable[str], live: Iterable[tuple[str, str]] = ()
) -> list[StandingScore]:
    """What each of the models scored on each suite the last time that it was asked here, the mean
    of a whole run (`Scored.is_whole`). Of a model that ``live`` names with checkpoints only what
    one of these scored. All scores of a suite are under the same conditions: those under which
    most of the models were asked, of these the latest."""
    pairs = list(live)
    names = {
        "own": OWN,
        "models": list(models),
        "local": [model for model, _ in pairs],
        "live": [checkpoint for _, checkpoint in pairs],
        "refused": REFUSED,
    }
    rows = await (await conn.execute(STANDING, names)).fetchall()
    return [StandingScore(*row) for row in rows]


async def read_live(conn: Connection) -> dict[str, str]:
    """The checkpoint that answers under each alias of everybody's now."""
    cursor = await conn.execute("select alias, live from standing where tenant is null")
    return dict(await cursor.fetchall())


async def remove_run(conn: Connection, run: int) -> bool:
    """Whether there was one."""
    return (await conn.execute("delete from score_runs where id = %s", (run,))).rowcount > 0


async def _read(conn: Connection, runs: list[int]) -> AsyncGenerator[tuple[int, Result]]:
    async for run, *values in await conn.execute(SCORES, (runs,)):
        yield run, Result(**dict(zip(_RESULT, values, strict=True)))


_RESULT = (
    *("case", "sample", "group", "score", "seconds", "prompt_tokens", "completion_tokens"),
    *("nanos", "detail"),
)


def _run(values: list[object]) -> Run:
    named = dict(zip(_NAMES, values, strict=True))
    conditions = {name: named.pop(name) for name in _CONDITIONS}
    return msgspec.convert({**named, "conditions": conditions}, Run)
