"""Is the bill right after two months in which everything went wrong?

Writers in processes of their own record answers of many tenants: whole ones, several choices, left,
broken off, withheld, hosted, with prices that change at midnight in five time zones. Meanwhile
writers and Postgres are killed (-9), again and again. Afterwards the ledger is compared with what
an oracle works out from the answers, with what `ledger verify` works out, and with all invoices.
Ends with status 1 if an answer is lost, doubled or charged otherwise.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg

from _report import arguments, finish, table
from liveweights.meter.invoice import Month as BilledMonth
from liveweights.meter.invoice_rows import close_invoice
from liveweights.meter.ledger import Ledger
from liveweights.meter.ledger_proof import prove
from liveweights.meter.levies import BillingSettings
from liveweights.meter.tenants import find_zone
from liveweights.record.generation import Generation
from liveweights.record.spill import Spill
from liveweights.record.writer import Writer
from liveweights.store.database import Connection, Pool, open_pool
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.store.migrate import migrate

sys.path.append(str(Path(__file__).parents[1]))
from tests.meter.month import Month, add_month, make_answers, make_month, owed, totals

CHOICES = 1.8
"""Answers of a request, on average."""
PIECE = 2000
WRITERS = 2
MONTHS = ("2024-02", "2024-03", "2024-04")
SEED = 20241


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] == "--writer":
        dsn, folder, tenants, requests, number = sys.argv[2:]
        asyncio.run(_write(dsn, Path(folder), int(tenants), int(requests), int(number)))
        return
    options = arguments(
        __doc__ or "",
        tenants=(50, "tenants"),
        answers=(1_000_000, "answers, about"),
        kills=(50, "of writers and of Postgres"),
    )
    if options.quick:
        options.answers, options.kills, options.tenants = min(options.answers, 8000), 4, 8
    folder = Path(tempfile.mkdtemp(prefix="liveweights-bench-"))
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder / "postgres", settings={"max_wal_size": "4GB"})
    try:
        server.start()
        migrate(server.dsn)
        figures = asyncio.run(_run(server, folder, options))
    finally:
        server.destroy()
        shutil.rmtree(folder, ignore_errors=True)
    finish("ledger", options, figures, {})
    if figures["wrong"] or figures["lost"] or figures["doubled"] or not figures["proved"]:
        sys.exit(1)


def _answers(tenants: int, requests: int, number: int) -> Iterator[Generation]:
    """Those of one writer: the same each time."""
    month = make_month(random.Random(SEED), tenants)
    rng = random.Random(f"{SEED} {number}")
    return make_answers(rng, month, requests, first=number * requests)


async def _write(dsn: str, folder: Path, tenants: int, requests: int, number: int) -> None:
    """A writer's process. Killed and started again, it adds what is not there."""
    done = folder / "done"
    skipped = int(done.read_text()) if done.exists() else 0
    answers = islice(_answers(tenants, requests, number), skipped, None)
    pool = await open_pool(dsn)
    spill = Spill(folder / "spill")
    async with Writer(pool, charge=Ledger(), spill=spill) as writer:
        while piece := list(islice(answers, PIECE)):
            known = await _find(pool, piece)
            for g in piece:
                if g.id not in known:
                    await writer.add_generation(g)
            await writer.flush()
            skipped += len(piece)
            fresh = done.with_suffix(".new")
            fresh.write_text(str(skipped))
            fresh.rename(done)
    await pool.close()


async def _find(pool: Pool, piece: list[Generation]) -> set[str]:
    async with pool.connection() as conn:
        cursor = await conn.execute(
            "select id from ledger where id = any(%s)", ([g.id for g in piece],)
        )
        return {id for (id,) in await cursor.fetchall()}


async def _run(server: EmbeddedPostgres, folder: Path, options: Any) -> dict[str, Any]:
    month = make_month(random.Random(SEED), options.tenants)
    async with await psycopg.AsyncConnection.connect(server.dsn) as conn:
        await add_month(conn, month)
    requests = int(options.answers / CHOICES / WRITERS)
    began = time.perf_counter()
    killed = await _write_and_kill(server, folder, options, requests)
    wrote = time.perf_counter() - began
    figures: dict[str, Any] = {"tenants": options.tenants, "kills": killed}
    async with await psycopg.AsyncConnection.connect(server.dsn) as conn:
        cursor = await conn.execute("select id, currency, amount, cost from ledger")
        rows = await cursor.fetchall()
        await conn.commit()
        booked = {id: (currency, amount, cost) for id, currency, amount, cost in rows}
        answers = wrong = 0
        for g in _everything(options.tenants, requests):
            truth = owed(month, g)
            answers += 1
            wrong += booked.get(g.id, ()) != (truth.currency, truth.amount, truth.cost)
        figures |= {"answers": answers, "wrong": wrong, "written_per_s": answers / wrote}
        figures["lost"] = answers - len(booked)
        figures["doubled"] = len(rows) - len(booked)
        began = time.perf_counter()
        proof = await prove(conn)
        figures["proved_per_s"] = proof.entries / (time.perf_counter() - began)
        began = time.perf_counter()
        sums = await _invoice(conn, month)
        invoices = len(month.tenants) * len(MONTHS)
        figures["ms_per_invoice"] = 1000 * (time.perf_counter() - began) / invoices
        truths = totals(month, _everything(options.tenants, requests))
        figures["invoices_differ"] = sum(
            sums.get(key) != truths.get(key) for key in sums.keys() | truths.keys()
        )
        again = await prove(conn)
        figures["differences"] = proof.wrong + again.wrong
        figures["proved"] = proof.holds and again.holds and not figures["invoices_differ"]
    table("The ledger against the oracle", ("", ""), [(k, v) for k, v in figures.items()])
    return figures


def _everything(tenants: int, requests: int) -> Iterator[Generation]:
    for number in range(WRITERS):
        yield from _answers(tenants, requests, number)


async def _invoice(conn: Connection, month: Month) -> dict[tuple[str, str, str], int]:
    """Nanos by tenant, month and currency, of every invoice, which is closed."""
    sums: dict[tuple[str, str, str], int] = {}
    for tenant in month.tenants:
        for name in MONTHS:
            billed = BilledMonth.parse(name, find_zone(month.zones[tenant]))
            invoice = await close_invoice(conn, tenant, billed, BillingSettings())
            for one in invoice.statements:
                if one.net_nanos:
                    sums[tenant, name, one.currency] = one.net_nanos
    return sums


async def _write_and_kill(
    server: EmbeddedPostgres, folder: Path, options: Any, requests: int
) -> int:
    """Until every writer is through; how often something was killed."""
    rng = random.Random(SEED)
    writers: dict[int, subprocess.Popen[bytes]] = {}
    waiting = set(range(WRITERS))
    killed = 0
    pause = max(0.3, options.answers / 12_000 / max(options.kills, 1))
    try:
        while waiting or writers:
            for number in sorted(waiting):
                writers[number] = _start(server.dsn, folder, options, requests, number)
            waiting.clear()
            await asyncio.sleep(pause)
            if killed < options.kills:
                killed += 1
                if rng.random() < 0.4:
                    assert server.pid is not None
                    os.kill(server.pid, signal.SIGKILL)
                    await asyncio.to_thread(server.start)
                elif writers:
                    writers[rng.choice(sorted(writers))].kill()
            for number, process in list(writers.items()):
                if process.poll() is not None:
                    del writers[number]
                    if process.returncode != 0:
                        waiting.add(number)
    finally:
        for process in writers.values():
            process.kill()
            process.wait()
    return killed


def _start(
    dsn: str, folder: Path, options: Any, requests: int, number: int
) -> subprocess.Popen[bytes]:
    own = folder / f"writer-{number}"
    own.mkdir(exist_ok=True)
    words = [dsn, own, options.tenants, requests, number]
    return subprocess.Popen(
        [sys.executable, __file__, "--writer", *map(str, words)], stderr=subprocess.DEVNULL
    )


if __name__ == "__main__":
    main()
