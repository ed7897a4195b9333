"""A database of many answers, as a service of 16 checkpoints a day would have it."""

from __future__ import annotations

import contextlib
import os
from datetime import datetime, timedelta
from pathlib import Path

import psycopg

# One day. 16 checkpoints a day, each a canary at 10% before it is live; 20 tenants of unequal size.
GENERATIONS = """
insert into generations
select id, at, 'code', checkpoint, 'completion', prompt, output, logprobs, logprobs,
    case when silent then '' else 'return total / len(values)' end, 'stop', 0.8, 0.95, null, 64,
    tenant, 'user-' || (n * 7919) %% 2000, 'session-' || n / 20, surface, 'python', true, '',
    exp(4.2 + 0.5 * noise), exp(5.5 + 0.4 * noise), '{}', '', '{}', generation_day(id), 5000
from (
    select n, at, noise, random() < 0.08 as silent,
        'gen_' || lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0') || '7'
            || lpad(to_hex(n), 19, '0') as id,
        'm@' || lpad(to_hex(
            (extract(epoch from at)::bigint / 5400 + (random() < 0.1)::int) * 7919
        ), 12, '0') as checkpoint,
        'tenant-' || floor(20 * random() * random()) as tenant,
        (array['editor', 'terminal', 'review'])[1 + (n %% 3)] as surface,
        array_fill((n %% 49000)::int, array[32]) as prompt,
        array_fill((n %% 49000)::int, array[12]) as output,
        array_fill(-0.5::real, array[12]) as logprobs
    from (
        select n, %(day)s::timestamptz + (n - %(first)s) * (interval '1 day' / %(rows)s) as at,
            random_normal() as noise
        from generate_series(%(first)s::bigint, %(first)s::bigint + %(rows)s - 1) n
    ) moments
) rows
"""
SERIES = (
    "insert into series (alias, checkpoint) select distinct alias, checkpoint from generations",
    "insert into series (alias, checkpoint, tenant, surface, whole_id)"
    " select distinct g.alias, g.checkpoint, g.tenant, g.surface, s.id"
    " from generations g join series s using (alias, checkpoint)",
)
FEEDBACK = """
insert into feedback
select nextval('feedback_seq'), g.tenant, 'fb-' || g.id, g.id,
    case when x < 0.55 then 'accepted' when x < 0.93 then 'rejected' else 'thumbs' end,
    case when x >= 0.93 then sign(random() - 0.4) end, null,
    created_at + least(-ln(random()) * interval '1 hour', interval '9 days'), g.day, created_at,
    s.id, user_id, output = '', null
from (select *, random() as x from generations where random() < 0.25) g
join series s on (s.alias, s.checkpoint, s.tenant, s.surface)
    = (g.alias, g.checkpoint, g.tenant, g.surface)
"""


def fill(dsn: str, rows: int, days: int, end: datetime) -> None:
    """``rows`` answers over so many days, a quarter of them with feedback, and their rollups."""
    per_day = rows // days
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("set synchronous_commit = off")
        first_day = (end - timedelta(days=days)).date()
        conn.execute("select ensure_partitions(%s, %s)", (first_day, end.date()))
        for number in range(days):
            day = end - timedelta(days=days - number)
            values = {"day": day, "first": number * per_day, "rows": per_day}
            conn.execute(GENERATIONS, values)
            print(f"filled {day:%Y-%m-%d}", flush=True)
        for statement in SERIES:
            conn.execute(statement)
        conn.execute(FEEDBACK)
        conn.execute(
            "insert into feedback_keys"
            " select tenant, id, seq, generation, received_at, day from feedback"
        )
        conn.execute(
            "insert into last_seen select tenant, user_id, max(created_at at time zone 'UTC')"
            " from generations group by 1, 2"
        )
        print("feedback is there; counting", flush=True)
        conn.execute("analyze generations, feedback, series")
        conn.execute("call rebuild_rollups('-infinity', 'infinity')")
        counted = ("rollups", "rollup_histograms", "series", "last_seen")
        for name in ("generations", "feedback", *counted):
            conn.execute(f"vacuum analyze {name}".encode())
        conn.execute("checkpoint")


def server_cpu(dsn: str) -> float:
    """Seconds that all processes of the server, which is on this machine, have used so far."""
    with psycopg.connect(dsn) as conn:
        query = "select pid from pg_stat_activity where backend_type = 'checkpointer'"
        row = conn.execute(query).fetchone()
    assert row is not None
    postmaster = _stat(row[0])[1]  # the parent
    ticks = sum(map(int, _stat(postmaster)[11:15]))  # its own, and of children that have ended
    for process in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            if (stat := _stat(process))[1] == postmaster:
                ticks += sum(map(int, stat[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _stat(process: str | int) -> list[str]:
    """What proc(5) says of it, from its state on."""
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
