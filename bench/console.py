"""How large and how slow are the console's pages at size, and what do those cost who watch?

Fills a Postgres of its own with answers over 14 days, a quarter of them with feedback, 16
checkpoints a day, each with its cycle and release; then asks a console in a process of its own for
each page, and has people watch the first one: while nothing changes, and while something does with
every look. Processor time is that of the console and of the whole database, less what both use
without anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg

from _answers import fill, server_cpu
from _report import Cell, arguments, finish, table
from liveweights.console.live import EVERY
from liveweights.cycle import ledger
from liveweights.cycle.pauses import pause, read_pause, resume
from liveweights.release import aliases, moves
from liveweights.replay.service import free_port
from liveweights.store.database import Connection
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.store.migrate import migrate
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register

DAYS = 14
PATIENCE = 30
"""Seconds that a page may take until it is given up."""
GIVEN_UP = 408
"""The console's answer where the database took too long."""
KEY = "bench-0123456789abcdef"
BASE = "m@ffffffffffff"
BOUNDS = {"kilobytes": 100, "milliseconds": 50, "percent_of_a_core": 1.0}
"""What the pages are meant to stay below."""


def main() -> None:
    options = arguments(
        __doc__ or "",
        rows=(10_000_000, "answers"),
        times=(40, "that each page is asked for"),
        viewers=(50, "people who watch"),
        seconds=(60, "that they watch"),
        folder=("", "where the database is kept meanwhile; empty: the system's temporary folder"),
        filled=("", "database of a run that is stopped for now, to be measured alone"),
    )
    if options.quick:
        options.rows, options.times, options.seconds = min(options.rows, 20_000), 5, 6
    if options.filled:
        asyncio.run(_measure(options.filled, options))
        return
    folder = Path(tempfile.mkdtemp(prefix="liveweights-bench-", dir=options.folder or None))
    folder.chmod(0o711)
    settings = {"shared_buffers": "1GB", "work_mem": "64MB", "maintenance_work_mem": "512MB"}
    server = EmbeddedPostgres(folder / "postgres", settings={**settings, "max_wal_size": "8GB"})
    try:
        server.start()
        migrate(server.dsn)
        asyncio.run(_fill(server.dsn, options.rows))
        asyncio.run(_measure(server.dsn, options))
    finally:
        server.destroy()
        shutil.rmtree(folder, ignore_errors=True)


async def _fill(dsn: str, rows: int) -> None:
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    fill(dsn, rows, DAYS, end)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await _tell_history(conn)


async def _measure(dsn: str, options: Any) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        last = (await aliases.read(conn, "code")).live
        addresses = await _list_addresses(conn, last)
    figures: dict[str, Any] = {"rows": options.rows, "bounds": BOUNDS}
    async with _console(dsn) as (process, client):
        figures["pages"] = await _time_pages(client, addresses, options)
        figures["watching"] = await _watch(dsn, process, client, options)
        # Last: of a long chain of checkpoints it keeps the console busy, also once it is given up.
        figures["pages"] |= await _time_pages(client, {"a bill": "/bills/code"}, options)
    figures["beyond"] = _list_beyond(figures)
    for line in figures["beyond"]:
        print(f"beyond its bound: {line}")
    finish("console", options, figures, {})


def _list_beyond(figures: dict[str, Any]) -> list[str]:
    """What does not stay below its bound."""
    pages = [
        f"{name}: {one[figure]:.4g} {unit}"
        for name, one in figures["pages"].items()
        for figure, bound, unit in (
            ("kilobytes", "kilobytes", "kB"),
            ("p50_ms", "milliseconds", "ms at the median"),
        )
        if one[figure] >= BOUNDS[bound]
    ]
    watching = [
        f"while {name}: {percent:.3g}% of a core"
        for name, one in figures["watching"].items()
        if (percent := one["console_percent"] + one["database_percent"])
        >= BOUNDS["percent_of_a_core"]
    ]
    return pages + watching


async def _tell_history(conn: Connection) -> None:
    """A cycle and a release for each checkpoint, in the order of their first answers."""
    cursor = await conn.execute(
        "select checkpoint from counted where whole and width = 1440"
        " group by checkpoint order by min(bucket), checkpoint"
    )
    names = [name for (name,) in await cursor.fetchall()]
    await register(conn, Checkpoint(BASE, "base", Path("/")), {})
    await aliases.create(conn, "code", BASE)
    before = BASE
    for name in names:
        await register(conn, Checkpoint(name, "adapter", Path("/"), BASE, before), {})
        cycle = await ledger.begin(conn, "code", {})
        cycle = await ledger.advance(conn, cycle, "learning")
        cycle = await ledger.advance(conn, cycle, "calibrating", candidate=name)
        await moves.promote(conn, "code", name, cycle=cycle.id, reason="better")
        await ledger.advance(conn, cycle, "ended", outcome="promoted", reason="better")
        before = name


async def _list_addresses(conn: Connection, last: str) -> dict[str, str]:
    """What each page is called, and one that there is of it."""
    cursor = await conn.execute(
        "select r.id, c.id from recorded r, turns c where c.candidate = %s"
        " order by r.created_at desc limit 1",
        (last,),
    )
    answer, cycle = await cursor.fetchone() or ("", 0)
    return {
        "first page": "/",
        "answers": "/answers",
        "answers with a signal": "/answers?signal=thumbs",
        "answers with a text": "/answers?text=nowhere",
        "an answer": f"/answers/{answer}",
        "a session": f"/conversations/{answer}",
        "checkpoints": "/checkpoints",
        "a checkpoint": f"/checkpoints/{last}",
        "cycles": "/cycles",
        "a cycle": f"/cycles/{cycle}",
        "releases": "/releases",
        "lineage": "/lineage",
        "two checkpoints": f"/comparison?left={BASE}&right={last}",
        "playground": "/playground",
        "scoreboard": "/scoreboard",
        "episodes": "/episodes",
        "exposure": "/exposure",
        "adoption": "/adoption",
        "bills": "/bills",
        "databases": "/databases",
        "usage": "/usage",
        "usage by key": "/usage?by=key",
        "budgets": "/budgets",
        "invoices": "/invoices",
        "keys": "/keys",
        "users": "/users",
        "audit": "/audit",
    }


@contextlib.asynccontextmanager
async def _console(dsn: str) -> AsyncIterator[tuple[psutil.Process, httpx.AsyncClient]]:
    """Its process, and somebody who may see all of it."""
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("_console.py")), dsn, str(port), KEY]
    child = await asyncio.create_subprocess_exec(*command)
    headers = {"authorization": f"Bearer {KEY}", "accept": "text/html"}
    url, limits = f"http://127.0.0.1:{port}", httpx.Limits(max_connections=None)
    try:
        async with httpx.AsyncClient(
            base_url=url,
            headers=headers,
            timeout=PATIENCE,
            limits=limits,
        ) as client:
            for _ in range(600):
                with contextlib.suppress(httpx.ConnectError):
                    await client.get("/login")
                    break
                await asyncio.sleep(0.1)
            yield psutil.Process(child.pid), client
    finally:
        child.terminate()
        await child.wait()


async def _time_pages(
    client: httpx.AsyncClient, addresses: dict[str, str], options: Any
) -> dict[str, dict[str, float]]:
    """Each in turn, so that none finds the caches as the one before it left them. One that does not
    answer in time is not asked for again."""
    took: dict[str, list[float]] = {name: [] for name in addresses}
    size: dict[str, float] = {}
    for turn in range(options.times + 1):
        for name, address in addresses.items():
            if took[name] == [1000.0 * PATIENCE]:
                continue
            began = time.perf_counter()
            try:
                page = await client.get(address)
            except httpx.ReadTimeout:
                page = None
            if page is None or page.status_code == GIVEN_UP:
                took[name], size[name] = [1000.0 * PATIENCE], 0.0
                said = "did not answer" if page is None else "was given up by the console"
                print(f"{name} {said} within {PATIENCE} s", flush=True)
                continue
            spent = 1000 * (time.perf_counter() - began)
            assert page.status_code == 200, (address, page.text)
            size[name] = len(page.content) / 1000
            if turn:  # the first one warms what is kept
                took[name].append(spent)
    figures = {
        name: {
            "kilobytes": size[name],
            "p50_ms": statistics.median(times),
            "p95_ms": sorted(times)[int(0.95 * (len(times) - 1))],
        }
        for name, times in took.items()
    }
    lines: list[tuple[Cell, ...]] = [(name, *one.values()) for name, one in figures.items()]
    title = f"Pages at {options.rows:,} answers, {options.times} times each"
    table(title, ("page", "kB", "p50 ms", "p95 ms"), lines)
    return figures


async def _watch(
    dsn: str, process: psutil.Process, client: httpx.AsyncClient, options: Any
) -> dict[str, dict[str, float]]:
    figures: dict[str, dict[str, float]] = {}
    nobody = await _spend(dsn, process, options.seconds)
    for name, changing in (("nothing changes", False), ("each look is another", True)):
        seen = [0] * options.viewers
        async with asyncio.TaskGroup() as group:
            watching = [
                group.create_task(_view(client, seen, place)) for place in range(options.viewers)
            ]
            while not all(seen):
                await asyncio.sleep(0.05)
            if changing:
                watching.append(group.create_task(_change(dsn)))
            before = sum(seen)
            spent = await _spend(dsn, process, options.seconds)
            for task in watching:
                task.cancel()
        figures[name] = {
            "console_percent": 100 * (spent[0] - nobody[0]) / options.seconds,
            "database_percent": 100 * (spent[1] - nobody[1]) / options.seconds,
            "events_per_viewer": (sum(seen) - before) / options.viewers,
        }
    table(
        f"{options.viewers} people watch for {options.seconds} s, less what is used without them",
        ("while", "console, % of a core", "database, % of a core", "events for each"),
        [(name, *one.values()) for name, one in figures.items()],
    )
    return figures


async def _spend(dsn: str, process: psutil.Process, seconds: float) -> tuple[float, float]:
    """Processor seconds of the console and of the database in that time."""

    def used() -> tuple[float, float]:
        times = process.cpu_times()
        return times.user + times.system, server_cpu(dsn)

    before = used()
    await asyncio.sleep(seconds)
    after = used()
    return after[0] - before[0], after[1] - before[1]


async def _view(client: httpx.AsyncClient, seen: list[int], place: int) -> None:
    async with client.stream("GET", "/live", timeout=None) as stream:
        async for line in stream.aiter_lines():
            seen[place] += line.startswith("event: ")


async def _change(dsn: str) -> None:
    """Learning is paused and resumed, once in the time of a look each."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        while True:
            if await read_pause(conn, "code") is None:
                await pause(conn, "code", "measuring", actor="bench")
            else:
                await resume(conn, "code")
            await asyncio.sleep(EVERY)


if __name__ == "__main__":
    main()
