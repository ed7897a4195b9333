"""How fast are live questions at size, next to what a team would do without rollups?

Fills a Postgres of its own with generations over 14 days, a quarter of them with feedback, twice:
in the tables of liveweights (rollups kept), and in two plain tables with the usual indexes. Then
asks the dashboard's main question, accept rate by checkpoint and hour over all 14 days, of each,
in turn; measures ingestion through the writer, and when late feedback shows in its bucket.
Ingestion alone needs no rows before it: --parts ingestion --rows 0.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from _answers import fill, server_cpu
from _report import Cell, arguments, finish, table
from liveweights.insight.catalogue import QUESTIONS
from liveweights.insight.questions import accept_rate
from liveweights.insight.window import Window, make_window
from liveweights.insight.worths import Worths
from liveweights.learn.rewards import RewardMap
from liveweights.meter.ledger import Ledger
from liveweights.meter.price_rows import settle_prices
from liveweights.meter.prices import Price, price_from
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.record.rollups import differences
from liveweights.record.writer import Writer
from liveweights.serve.api.identifiers import make_id
from liveweights.store.database import Connection, open_pool
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.store.migrate import migrate

DAYS = 14
PARTS = ("questions", "ingestion", "late")
MAP = RewardMap()

PLAIN = (
    "create table plain_generations as select id, created_at, alias, checkpoint, endpoint,"
    " prompt_ids, output_ids, logprobs, raw_logprobs, output, finish_reason, temperature, top_p,"
    " seed, max_tokens, tenant, user_id, session, surface, language, consent, healed,"
    " first_token_ms, total_ms, metadata from generations",
    "alter table plain_generations add primary key (id)",
    "create index on plain_generations (created_at)",
    "create index on plain_generations (tenant)",
    "create table plain_feedback as select seq, tenant, id, generation, signal, value, text,"
    " received_at from feedback",
    "alter table plain_feedback add primary key (tenant, id)",
    "create index on plain_feedback (generation)",
    "vacuum analyze plain_generations",
    "vacuum analyze plain_feedback",
)
PLAIN_QUESTION = """
select date_trunc('hour', g.created_at) as at, g.checkpoint,
    count(*) as generations,
    count(*) filter (where f.signal = 'accepted') as accepted,
    count(*) filter (where f.signal = 'rejected') as rejected,
    count(*) filter (where f.signal = 'accepted')::float8
        / nullif(count(*) filter (where f.signal in ('accepted', 'rejected')), 0) as accept_rate
from {generations} g left join {feedback} f on f.generation = g.id
where g.created_at >= {since} and g.created_at < {until} and g.alias = 'code'
group by 1, 2 order by 1, 2
"""
RAW_QUESTION = """
select date_bin('1 hour', g.created_at, 'epoch') as at, g.checkpoint,
    count(*) as generations,
    count(*) filter (where o.accepted) as accepted,
    count(*) filter (where o.rejected) as rejected,
    count(*) filter (where o.accepted)::float8
        / nullif(count(*) filter (where o.accepted or o.rejected), 0) as accept_rate
from generations g left join outcomes o on o.day = g.day and o.generation = g.id
where g.created_at >= {since} and g.created_at < {until} and g.alias = 'code'
group by 1, 2 order by 1, 2
"""


def main() -> None:
    options = arguments(
        __doc__ or "",
        rows=(10_000_000, "generations"),
        seconds=(30, "of ingestion"),
        parts=(",".join(PARTS), "what to measure"),
        folder=("", "where the database is kept meanwhile; empty: the system's temporary folder"),
    )
    if options.quick:
        options.rows, options.seconds = min(options.rows, 40_000), 3
    options.parts = options.parts.split(",")
    if unknown := set(options.parts) - set(PARTS):
        raise SystemExit(
            f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}"
        )
    folder = Path(tempfile.mkdtemp(prefix="liveweights-bench-", dir=options.folder or None))
    folder.chmod(0o711)
    settings = {"shared_buffers": "1GB", "work_mem": "64MB", "maintenance_work_mem": "512MB"}
    server = EmbeddedPostgres(folder / "postgres", settings={**settings, "max_wal_size": "8GB"})
    try:
        server.start()
        migrate(server.dsn)
        asyncio.run(_run(server.dsn, folder, options))
    finally:
        server.destroy()
        shutil.rmtree(folder, ignore_errors=True)


async def _run(dsn: str, folder: Path, options: Any) -> None:
    rows: int = options.rows
    loading = time.perf_counter()
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if rows:
        fill(dsn, rows, DAYS, end)
        _fill_plain(dsn)
    figures: dict[str, Any] = {"rows": rows, "fill_s": time.perf_counter() - loading, "peers": {}}
    window = make_window(end.strftime("%Y-%m-%d"), now=end + timedelta(days=1))
    window = Window(end - timedelta(days=DAYS), end, 60, window.alias, window.tenant)
    if "questions" in options.parts:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            await _compare(conn, folder, window, options, figures)
            await _all_questions(conn, window, options, figures)
    if "ingestion" in options.parts:
        await _ingest(dsn, options.seconds, figures)
    if "late" in options.parts:
        await _late(dsn, end, figures)
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        wrong = (
            await differences(conn, end, end + timedelta(days=2))
            if rows > 10**6
            else (await differences(conn))
        )
    figures["differences"] = len(wrong)
    peers = figures.pop("peers")
    finish("insight", options, figures, peers)


def _fill_plain(dsn: str) -> None:
    print("the plain tables", flush=True)
    with psycopg.connect(dsn, autocommit=True) as conn:
        for statement in PLAIN:
            conn.execute(statement.encode())
        conn.execute("checkpoint")


async def _compare(
    conn: Connection, folder: Path, window: Window, options: Any, figures: dict[str, Any]
) -> None:
    quick: bool = options.quick
    since, until = f"'{window.since.isoformat()}'", f"'{window.until.isoformat()}'"
    plain = PLAIN_QUESTION.format(
        generations="plain_generations", feedback="plain_feedback", since=since, until=until
    )
    raw = RAW_QUESTION.format(since=since, until=until)

    async def rollups() -> list[Any]:
        return [
            (r.at, r.key, r.generations, r.accepted)
            for r in await accept_rate(conn, window, Worths(MAP))
        ]

    async def from_raw() -> list[Any]:
        return [row[:4] for row in await (await conn.execute(raw.encode())).fetchall()]

    async def from_plain() -> list[Any]:
        return [row[:4] for row in await (await conn.execute(plain.encode())).fetchall()]

    ways: dict[str, tuple[Callable[[], Awaitable[list[Any]]], int]] = {
        "liveweights rollups": (rollups, 5 if quick else 30),
        "our raw rows": (from_raw, 1),
        "plain Postgres": (from_plain, 1),
    }
    duck = await asyncio.to_thread(_duckdb, conn.info.dsn, folder, window)
    if duck is not None:
        ways["DuckDB over Parquet"] = (duck, 1)
    timings: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, int] = {}
    for turn in range(2 if quick else 3):  # the first turn warms every cache
        for name, (ask, times) in ways.items():
            for _ in range(times):
                began = time.perf_counter()
                found = await ask()
                if turn:
                    timings[name].append(1000 * (time.perf_counter() - began))
            answers[name] = sum(row[3] for row in found)
    assert len(set(answers.values())) == 1, f"the answers differ: {answers}"
    ours = statistics.median(timings["liveweights rollups"])
    lines: list[tuple[Cell, ...]] = []
    for name, times in timings.items():
        p50, p95 = statistics.median(times), _p95(times)
        lines.append((name, p50, p95, p50 / ours))
        mine = name == "liveweights rollups"
        (figures if mine else figures["peers"])[f"main_ms: {name}" if not mine else "main_ms"] = {
            "p50": p50,
            "p95": p95,
            "ratio": p50 / ours,
        }
    title = f"Accept rate by checkpoint and hour, {DAYS} days, {options.rows:,} generations"
    table(title, ("", "p50 ms", "p95 ms", "times ours"), lines)


def _duckdb(dsn: str, folder: Path, window: Window) -> Callable[[], Awaitable[list[Any]]] | None:
    try:
        import duckdb
    except ImportError:
        print("DuckDB is left out; install it with: pip install 'liveweights[bench]'")
        return None
    tables = {
        "generations": "id, created_at, alias, checkpoint, tenant, surface",
        "feedback": "id, generation, signal, value, received_at",
    }
    db = duckdb.connect()
    db.execute(f"set threads = {os.cpu_count()}")
    db.execute("set timezone = 'UTC'")
    with psycopg.connect(dsn) as conn:
        for name, columns in tables.items():
            path = folder / f"{name}.csv"
            with (
                path.open("wb") as file,
                conn.cursor().copy(
                    f"copy (select {columns} from {name}) to stdout (format csv, header)".encode()
                ) as copy,
            ):
                for part in copy:
                    file.write(part)
            parquet = folder / f"{name}.parquet"
            db.execute(f"copy (from '{path}') to '{parquet}' (compression zstd)")
            path.unlink()
    query = PLAIN_QUESTION.format(
        generations=f"'{folder}/generations.parquet'",
        feedback=f"'{folder}/feedback.parquet'",
        since=f"timestamptz '{window.since.isoformat()}'",
        until=f"timestamptz '{window.until.isoformat()}'",
    )

    async def ask() -> list[Any]:
        return await asyncio.to_thread(lambda: db.execute(query).fetchall())

    return ask


async def _all_questions(
    conn: Connection, window: Window, options: Any, figures: dict[str, Any]
) -> None:
    lines: list[tuple[Cell, ...]] = []
    for name, question in QUESTIONS.items():
        times: list[float] = []
        for _ in range(3 if options.quick or name == "unhappy" else 10):
            began = time.perf_counter()
            await question.ask(conn, window, Worths(MAP), question.by)
            times.append(1000 * (time.perf_counter() - began))
        figures[f"{name}_ms"] = {"p50": statistics.median(times), "p95": _p95(times)}
        lines.append((name, statistics.median(times), _p95(times)))
    table(f"Every question over {DAYS} days", ("question", "p50 ms", "p95 ms"), lines)


def _answers(count: int) -> list[Generation]:
    """What an API records: 60 series at a time, 32 prompt and 12 answer tokens."""
    now = datetime.now(UTC)
    return [
        Generation(
            id=make_id("gen"),
            created_at=now,
            alias="code",
            checkpoint=f"m@{n % 2:012x}",
            endpoint="completion",
            prompt_ids=[n % 49_000] * 32,
            output_ids=[n % 49_000] * 12,
            logprobs=[-0.5] * 12,
            raw_logprobs=[-0.5] * 12,
            output="return total / len(values)",
            finish_reason="stop",
            temperature=0.8,
            top_p=0.95,
            max_tokens=64,
            tenant=f"tenant-{n % 10}",
            user=f"user-{n % 2000}",
            session=f"session-{n // 20}",
            surface=("editor", "terminal", "review")[n % 3],
            language="python",
            first_token_ms=30.0 + n % 97,
            total_ms=200.0 + n % 389,
        )
        for n in range(count)
    ]


async def _ingest(dsn: str, seconds: float, figures: dict[str, Any]) -> None:
    """The processor time says what is left for others, and what the rate is without others."""
    pool = await open_pool(dsn)
    async with pool.connection() as conn:
        price = price_from(Price(input=0.15, output=0.6), "code")
        await settle_prices(conn, {"code": price}, "settings", "sale")
    written = 0
    spent = python = 0.0
    before = server_cpu(dsn)
    async with Writer(pool, charge=Ledger()) as writer:
        while spent < seconds:
            answers = _answers(50_000 if seconds > 5 else 5_000)
            began, used = time.perf_counter(), time.process_time()
            for answer in answers:
                await writer.add_generation(answer)
            await writer.flush()
            spent += time.perf_counter() - began
            python += time.process_time() - used
            written += len(answers)
        server = server_cpu(dsn) - before
    await pool.close()
    figures["ingest_per_s"] = written / spent
    figures["ingest_cpu_us"] = {"writer": 1e6 * python / written, "server": 1e6 * server / written}
    table(
        "Ingestion through the writer, with rollups",
        ("generations", "s", "per s", "writer's CPU, us per row", "server's CPU, us per row"),
        [(f"{written:,}", spent, written / spent, *figures["ingest_cpu_us"].values())],
    )


async def _late(dsn: str, end: datetime, figures: dict[str, Any]) -> None:
    """From the acknowledgement of feedback for an old answer to its bucket showing it."""
    pool = await open_pool(dsn)
    shown: list[float] = []
    async with (
        Writer(pool) as writer,
        await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn,
    ):
        cursor = await conn.execute(
            "select g.id, g.created_at, s.id, g.tenant from generations g"
            " join series s on (s.alias, s.checkpoint, s.tenant, s.surface)"
            " = (g.alias, g.checkpoint, g.tenant, g.surface)"
            " where g.day = %s and not exists (select from feedback f"
            " where f.day = g.day and f.generation = g.id) limit 100",
            ((end - timedelta(days=10)).date(),),
        )
        bucket = (
            "select accepted from rollups where width = 5"
            " and bucket = date_bin('5 minutes', %s, 'epoch') and series = %s"
        )
        for id, created_at, series, tenant in await cursor.fetchall():
            before = await (await conn.execute(bucket, (created_at, series))).fetchone()
            await writer.add_feedback(
                Feedback(
                    id=f"late-{id}",
                    generation=id,
                    signal="accepted",
                    tenant=tenant,
                    received_at=datetime.now(UTC),
                )
            )
            acknowledged = time.perf_counter()
            after = None
            while after is None or after[0] == (before or [0])[0]:
                after = await (await conn.execute(bucket, (created_at, series))).fetchone()
            shown.append(1000 * (time.perf_counter() - acknowledged))
    await pool.close()
    figures["late_feedback_ms"] = {"p50": statistics.median(shown), "max": max(shown)}
    line = (statistics.median(shown), max(shown))
    title = "Feedback 10 days late: from acknowledgement to its bucket"
    table(title, ("p50 ms", "max ms"), [line])


def _p95(times: list[float]) -> float:
    return sorted(times)[min(len(times) - 1, int(0.95 * len(times)))]


if __name__ == "__main__":
    main()
