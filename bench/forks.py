"""How long databases for agents take to make and to fork, what many of them cost, and whether
they stay apart. Peers, in the same run and on the same server: what a plain CREATE DATABASE ...
TEMPLATE takes, and a dump piped into a new database.

What the file system can do decides: give folders on several with --folders a,b.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import statistics
import subprocess
import tempfile
import time
from argparse import Namespace
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from rich.progress import track

from _report import arguments, finish, table
from liveweights.agentdb import attach
from liveweights.agentdb.endpoint import read_endpoint, read_secret
from liveweights.agentdb.service import Address, Databases
from liveweights.agentdb.settings import MIB, DatabaseSettings
from liveweights.store import binaries, place

FILL = (
    "create table t (id bigint primary key, text text);"
    "insert into t select g, repeat(md5(g::text), 12) from generate_series(1, {}) g"
)
ROWS_PER_MB = 2100
EMPTY_MB = 7.5


def main() -> None:
    options = arguments(
        __doc__ or "",
        folders=("", "where to keep the databases, comma-separated; empty: the temporary folder"),
        sizes=("10,1000", "sizes in MB"),
        databases=(300, "how many on one server"),
        repeats=(9, "forks of each size"),
        durable=("no", "yes: with fsync, so that they survive a crash of the machine"),
    )
    if options.quick:
        options.sizes, options.databases, options.repeats = "10,100", 20, 3
    roots = options.folders.split(",") if options.folders else [tempfile.gettempdir()]
    figures, peers = {}, {}
    for root in roots:
        with tempfile.TemporaryDirectory(prefix="liveweights-forks-", dir=root) as folder:
            Path(folder).chmod(0o711)
            found, others = asyncio.run(measure(Path(folder) / "databases", options))
        kind = "reflink" if found["reflink"] else "copy"
        figures[kind], peers[kind] = found, others
        show(kind, found, others)
    finish("forks", options, figures, peers)


async def measure(folder: Path, options: Namespace) -> tuple[dict[str, Any], dict[str, Any]]:
    settings = DatabaseSettings(
        durable=options.durable == "yes", size_mb=8192, free_disk_mb=0, statement_seconds=600.0
    )
    figures: dict[str, Any] = {"durable": settings.durable}
    peers: dict[str, Any] = {}
    try:
        async with Databases(folder, settings) as databases:
            endpoint = read_endpoint(folder)
            assert endpoint is not None
            figures["reflink"] = endpoint.reflink
            superuser = endpoint.superuser(read_secret(folder))
            figures["create"] = await creations(databases, options.repeats)
            for size in map(int, options.sizes.split(",")):
                ours, others = await forks(databases, superuser, size, options)
                figures[f"fork_{size}mb"], peers[f"fork_{size}mb"] = ours, others
            figures |= await crowd(databases, superuser, folder, options)
    finally:
        await attach.stop(folder, settings, destroy=True)
    return figures, peers


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    begin = time.perf_counter()
    await work()
    return time.perf_counter() - begin


def summary(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {
        "p50_s": statistics.median(ordered),
        "p95_s": ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))],
        "n": len(ordered),
    }


async def creations(databases: Databases, repeats: int) -> dict[str, float]:
    seconds = [
        await timed(lambda n=number: databases.create(f"empty{n}")) for number in range(repeats)
    ]
    for number in range(repeats):
        await databases.delete(f"empty{number}")
    return summary(seconds)


async def forks(
    databases: Databases, superuser: str, size: int, options: Namespace
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Ours and the peers' in turn, of a frozen database of ``size`` MB."""
    name = f"source{size}"
    rows = int(max(0.0, size - EMPTY_MB) * ROWS_PER_MB)
    await databases.create(name, script=FILL.format(rows))
    source = (await databases.freeze(name)).id
    ours: list[float] = []
    connected: list[float] = []
    plain: list[float] = []
    dumped: list[float] = []
    async with await psycopg.AsyncConnection.connect(superuser, autocommit=True) as conn:
        cursor = await conn.execute("select pg_database_size(%s)", (source,))
        measured = (await cursor.fetchone() or (0,))[0]
        await conn.execute("checkpoint")
        for turn in track(range(options.repeats), f"fork {size} MB", transient=True):
            begin = time.perf_counter()
            await databases.fork(name, "fork")
            ours.append(time.perf_counter() - begin)
            await databases.sql("fork", "select 1 from t limit 1")
            connected.append(time.perf_counter() - begin)
            await databases.delete("fork")
            if turn < (options.repeats if size < 100 else 2):
                create = f"create database plain template {source}".encode()
                plain.append(await timed(lambda text=create: conn.execute(text)))
                if turn < (3 if size < 100 else 1):
                    dumped.append(await timed(lambda: dump(conn, superuser, "plain")))
                    await conn.execute("drop database dumped")
                await conn.execute("drop database plain")
    await databases.delete(name)
    others = {"template": summary(plain), "pg_dump": summary(dumped)}
    for took in others.values():
        took["times_ours"] = took["p50_s"] / statistics.median(ours)
    return (
        {
            **summary(ours),
            "first_query_p50_s": statistics.median(connected),
            "megabytes": measured / 1e6,
        },
        others,
    )


async def dump(conn: psycopg.AsyncConnection[Any], superuser: str, source: str) -> None:
    """What needs no template: pg_dump piped into psql."""
    await conn.execute("create database dumped template template0")
    programs = binaries.find()
    reading, writing = os.pipe()
    reader = await asyncio.create_subprocess_exec(
        programs / "pg_dump", "-d", make_conninfo(superuser, dbname=source), stdout=writing
    )
    os.close(writing)
    writer = await asyncio.create_subprocess_exec(
        *(programs / "psql", "-q", "-v", "ON_ERROR_STOP=1"),
        *("-d", make_conninfo(superuser, dbname="dumped")),
        stdin=reading,
        stdout=subprocess.DEVNULL,
    )
    os.close(reading)
    if await reader.wait() or await writer.wait():
        raise RuntimeError("pg_dump or psql failed")


async def crowd(
    databases: Databases, superuser: str, folder: Path, options: Namespace
) -> dict[str, Any]:
    """Many at once: what they take, what they cost while nobody uses them, and their walls."""
    await databases.create("crowd", script=FILL.format(int(2.5 * ROWS_PER_MB)))
    await databases.freeze("crowd")
    names = [f"crowd{number}" for number in range(options.databases)]
    free = shutil.disk_usage(folder).free
    begin = time.perf_counter()
    seconds = [
        await timed(lambda n=name: databases.fork("crowd", n))
        for name in track(names, "many forks", transient=True)
    ]
    whole = time.perf_counter() - begin
    disk = (free - shutil.disk_usage(folder).free) / MIB
    addresses = [await databases.connect(name) for name in names]
    answers = await asyncio.gather(*(ask(address) for address in addresses[:50]))
    idle = await idle_cost(superuser, folder, 5.0 if options.quick else 60.0)
    walls = await walls_hold(addresses, 40 if options.quick else 400)
    calm, disturbed = await neighbour(databases, addresses[0])
    begin = time.perf_counter()
    for name in names:
        await databases.delete(name)
    return {
        "crowd": {
            "databases": len(names),
            **summary(seconds),
            "seconds": whole,
            "disk_mib_each": disk / len(names),
            "answered": sum(answers),
            "delete_s_each": (time.perf_counter() - begin) / len(names),
        },
        "idle": idle,
        "isolation": walls,
        "neighbour_p95_ms": {"calm": calm, "while_forking": disturbed},
    }


async def ask(address: Address) -> bool:
    async with await psycopg.AsyncConnection.connect(address.dsn()) as conn:
        cursor = await conn.execute("select count(*) from t")
        return await cursor.fetchone() is not None


async def idle_cost(superuser: str, folder: Path, seconds: float) -> dict[str, float]:
    """Memory and processor time of the server and its host, with no agent connected."""
    await asyncio.sleep(2.0)
    processes = server_processes(folder)
    begin, used = time.perf_counter(), cpu_seconds(processes)
    await asyncio.sleep(seconds)
    after = cpu_seconds(server_processes(folder) | processes)
    return {
        "memory_mib": sum(map(private_memory, server_processes(folder))) / MIB,
        "cpu_share": (after - used) / (time.perf_counter() - begin),
    }


def server_processes(folder: Path) -> set[int]:
    """The host's and Postgres's processes."""
    host = int((folder / "host.lock").read_text())
    data = place.root_of(folder / "postgres") / "data"
    postmaster = int((data / "postmaster.pid").read_text().splitlines()[0])
    found = {host, postmaster}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            fields = Path("/proc", name, "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == postmaster:
            found.add(int(name))
    return found


def cpu_seconds(processes: set[int]) -> float:
    """Their processor time so far, that of their ended children included."""
    ticks = 0
    for process in processes:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / os.sysconf("SC_CLK_TCK")


def private_memory(process: int) -> float:
    """Bytes, with shared pages divided among those who share them."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next(float(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))


async def walls_hold(addresses: list[Address], attempts: int) -> dict[str, int]:
    """Connections of one with its own password to another's database: all must be refused."""
    chosen = random.Random(0)
    refused = 0
    for _ in range(attempts):
        own, other = chosen.sample(addresses, 2)
        stranger = replace(own, database=other.database)
        try:
            await (await psycopg.AsyncConnection.connect(stranger.dsn())).close()
        except psycopg.OperationalError:
            refused += 1
    return {"attempts": attempts, "refused": refused}


async def neighbour(databases: Databases, address: Address) -> tuple[float, float]:
    """p95 in ms of a small query in one database, alone, and while others are made beside it."""

    async def p95(until: Callable[[], bool]) -> float:
        took: list[float] = []
        async with await psycopg.AsyncConnection.connect(address.dsn(), autocommit=True) as conn:
            while not until():
                took.append(
                    1000 * await timed(lambda: conn.execute("select * from t where id = 7"))
                )
                await asyncio.sleep(0.002)
        return sorted(took)[int(0.95 * len(took))]

    end = time.perf_counter() + 2.0
    calm = await p95(lambda: time.perf_counter() > end)

    async def disturb() -> None:
        for number in range(10):
            await databases.fork("crowd", f"noise{number}")

    making = asyncio.create_task(disturb())
    disturbed = await p95(making.done)
    for number in range(10):
        await databases.delete(f"noise{number}")
    return calm, disturbed


def show(kind: str, found: dict[str, Any], peers: dict[str, Any]) -> None:
    durable = "durable" if found["durable"] else "not durable"
    rows: list[list[Any]] = [["create, empty", found["create"]["p50_s"], found["create"]["p95_s"]]]
    for name, other in peers.items():
        ours = found[name]
        label = f"{ours['megabytes']:.0f} MB"
        rows.append([f"fork {label}", ours["p50_s"], ours["p95_s"]])
        rows.append([f"fork {label}, until the first answer", ours["first_query_p50_s"], ""])
        for peer, took in other.items():
            text = {"template": "CREATE DATABASE ... TEMPLATE", "pg_dump": "pg_dump | psql"}[peer]
            rows.append([f"{text}, {label}", took["p50_s"], took["p95_s"]])
    table(f"{kind}, {durable}", ("what", "p50 s", "p95 s"), rows)
    crowd, idle = found["crowd"], found["idle"]
    walls, beside = found["isolation"], found["neighbour_p95_ms"]
    table(
        f"{crowd['databases']} databases on one server",
        ("what", "value"),
        [
            ["fork, p50 s", crowd["p50_s"]],
            ["fork, p95 s", crowd["p95_s"]],
            ["delete, s", crowd["delete_s_each"]],
            ["disk each, MiB", crowd["disk_mib_each"]],
            ["idle: memory of server and host, MiB", idle["memory_mib"]],
            ["idle: share of one core", idle["cpu_share"]],
            ["foreign connections refused", f"{walls['refused']} of {walls['attempts']}"],
            ["neighbour's query p95 ms, calm", beside["calm"]],
            ["neighbour's query p95 ms, while others fork", beside["while_forking"]],
        ],
    )


if __name__ == "__main__":
    main()
