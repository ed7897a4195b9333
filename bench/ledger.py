"""Is the bill right after two months in which everything went wrong?

Writers in processes of their own record answers of many tenants: whole ones, several choices, left,
broken off, withheld, hosted, some of them twice and by two writers, with prices that change at
midnight in five time zones. Another process refunds, and one closes the months. Each of them, and
Postgres, is killed (-9) again and again. Afterwards every entry of the ledger is compared with what
an oracle works out from the answers, with what `ledger verify` works out, and with all invoices.
Ends with status 1 if an answer is lost, doubled or charged otherwise.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from rich.console import Console
from rich.progress import Progress, TaskID

from _month import (
    MONTHS,
    WRITERS,
    Checked,
    Plan,
    Sums,
    add_prices,
    read_done,
    read_invoiced,
)
from _report import arguments, finish, table
from liveweights.meter.ledger_proof import prove
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.store.migrate import migrate

CHOICES = 1.8
"""Answers of a request, on average."""
LARGEST = 1000
"""Requests of a block."""
LOOK = 0.1
"""Seconds between two looks at the processes."""
MODULE = Path(__file__).with_name("_month.py")
POSTGRES = "postgres"
NOTHING = (
    *("lost", "doubled", "wrong", "unrefunded", "without_answer"),
    *("invoices_differ", "refunds_differ", "nanos_apart", "differences"),
)
"""Figures that have to be 0."""


def main() -> None:
    options = arguments(
        __doc__ or "",
        tenants=(50, "tenants"),
        answers=(1_000_000, "answers, about"),
        kills=(50, "of all processes, Postgres among them"),
    )
    if options.quick:
        options.answers, options.kills, options.tenants = min(options.answers, 8000), 6, 8
    folder = Path(tempfile.mkdtemp(prefix="liveweights-bench-"))
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder / "postgres", settings={"max_wal_size": "2GB"})
    try:
        server.start()
        migrate(server.dsn)
        figures = asyncio.run(_run(server, folder, options))
    finally:
        server.destroy()
        shutil.rmtree(folder, ignore_errors=True)
    table("The ledger against the oracle", ("", ""), list(figures.items()))
    finish("ledger", options, figures, {})
    if not figures["proved"]:
        sys.exit(1)


def make_plan(dsn: str, tenants: int, answers: int, kills: int) -> Plan:
    """Blocks so small that there are several between two kills."""
    requests = max(WRITERS, round(answers / CHOICES))
    size = max(1, min(LARGEST, requests // (8 * (kills + 1))))
    return Plan(dsn=dsn, tenants=tenants, blocks=max(WRITERS, round(requests / size)), size=size)


async def _run(server: EmbeddedPostgres, folder: Path, options: Any) -> dict[str, Any]:
    plan = make_plan(server.dsn, options.tenants, options.answers, options.kills)
    await add_prices(plan)
    billing = min(options.kills, max(1, options.kills // 10)) if options.kills else 0
    now = [datetime.now(UTC)]
    figures: dict[str, Any] = {"tenants": plan.tenants}
    killed: Counter[str] = Counter()
    with Progress(console=Console(stderr=True)) as progress:
        writers = {f"writer-{number}": _share(plan, number) for number in range(WRITERS)}
        seconds = await Phase(server, folder, plan, progress, killed).run(
            "recording, refunding", {**writers, "refunder": plan.blocks}, options.kills - billing
        )
        wrote = seconds
        now.append(datetime.now(UTC))
        seconds = await Phase(server, folder, plan, progress, killed).run(
            "closing months", {"biller": plan.tenants}, billing
        )
        figures["ms_per_invoice"] = 1000 * seconds / (plan.tenants * len(MONTHS))
        checkers = {f"checker-{number}": _share(plan, number) for number in range(WRITERS)}
        figures["check_s"] = await Phase(server, folder, plan, progress, Counter()).run(
            "asking the oracle", checkers, 0
        )
        task = progress.add_task("verifying", total=None)
        checks = [
            msgspec.json.decode((folder / name / "checked.json").read_bytes(), type=Checked)
            for name in checkers
        ]
        figures |= await _compare(plan, checks, now)
        progress.update(task, total=1, completed=1)
    figures["written_per_s"] = figures["answers"] / wrote
    figures["kills"] = killed.total()
    figures |= {f"kills_of_{name}": count for name, count in sorted(killed.items())}
    figures["proved"] = all(figures[name] == 0 for name in NOTHING)
    return figures


def _share(plan: Plan, number: int) -> int:
    return len(range(number, plan.blocks, WRITERS))


async def _compare(plan: Plan, checks: list[Checked], now: Iterable[datetime]) -> dict[str, Any]:
    answers, refunds = (
        sum(getattr(one, name) for one in checks) for name in ("answers", "refunds")
    )
    figures: dict[str, Any] = {"answers": answers, "refunds": refunds}
    figures |= {
        name: sum(getattr(one, name) for one in checks) for name in ("lost", "wrong", "unrefunded")
    }
    async with await psycopg.AsyncConnection.connect(plan.dsn, autocommit=True) as conn:
        cursor = await conn.execute(
            "select count(*), (select count(*) from generations) from ledger"
        )
        entries, stored = (await cursor.fetchone()) or (0, 0)
        figures["doubled"] = entries - (answers + refunds - figures["lost"])
        figures["without_answer"] = answers - stored
        closed, drawn = await read_invoiced(conn, plan, now)
        figures["invoices_differ"] = _differ(closed, _add(one.owed for one in checks))
        figures["refunds_differ"] = _differ(drawn, _add(one.refunded for one in checks))
        cursor = await conn.execute("select currency, sum(amount)::bigint from ledger group by 1")
        ledger = dict(await cursor.fetchall())
        invoiced: Counter[str] = Counter()
        for _, _, currency, nanos in (*closed, *drawn):
            invoiced[currency] += nanos
        figures["nanos_apart"] = sum(
            abs(ledger.get(name, 0) - invoiced[name]) for name in ledger.keys() | invoiced.keys()
        )
    async with await psycopg.AsyncConnection.connect(plan.dsn) as conn:
        began = time.perf_counter()
        proof = await prove(conn)
        figures["verified_per_s"] = proof.entries / (time.perf_counter() - began)
        figures["differences"] = proof.wrong + (not proof.holds)
    return figures


def _add(sums: Iterable[Sums]) -> Sums:
    total: dict[tuple[str, str, str], int] = {}
    for tenant, month, currency, nanos in (row for rows in sums for row in rows):
        key = tenant, month, currency
        total[key] = total.get(key, 0) + nanos
    return [(*key, nanos) for key, nanos in sorted(total.items()) if nanos]


def _differ(one: Sums, other: Sums) -> int:
    return len(set(one) ^ set(other))


@dataclass(slots=True)
class Phase:
    """Processes that work until each is through, and are killed as the work goes on."""

    server: EmbeddedPostgres
    folder: Path
    plan: Plan
    progress: Progress
    killed: Counter[str]
    """How often which was."""
    processes: dict[str, subprocess.Popen[bytes]] = field(
        default_factory=dict[str, subprocess.Popen[bytes]]
    )

    async def run(self, title: str, work: dict[str, int], kills: int) -> float:
        """``work`` says how much each role has to do; the seconds that it took."""
        task = self.progress.add_task(title, total=sum(work.values()))
        began, killed = time.perf_counter(), 0
        left = set(work)
        try:
            while left:
                for role in left - self.processes.keys():
                    self._start(role)
                await asyncio.sleep(LOOK)
                done = self._show(task, work)
                if killed < kills and done >= (killed + 0.5) * sum(work.values()) / (kills + 1):
                    await self._kill(sorted(work), killed)
                    killed += 1
                left -= self._collect()
        finally:
            for process in self.processes.values():
                process.kill()
                process.wait()
        self._show(task, work)
        return time.perf_counter() - began

    def _show(self, task: TaskID, work: dict[str, int]) -> int:
        done = sum(read_done(self.folder / role) for role in work)
        self.progress.update(task, completed=done)
        return done

    async def _kill(self, roles: list[str], number: int) -> None:
        """They and Postgres take turns; one that is through is passed over."""
        turns = [POSTGRES, *roles]
        turns = turns[number % len(turns) :] + turns[: number % len(turns)]
        victim = next(one for one in turns if one in self.processes or one == POSTGRES)
        self.killed[victim.partition("-")[0]] += 1
        if victim == POSTGRES:
            assert self.server.pid is not None
            os.kill(self.server.pid, signal.SIGKILL)
            await asyncio.to_thread(self.server.start)
        else:
            self.processes[victim].kill()

    def _collect(self) -> set[str]:
        """The roles that are through; others that have ended are started again."""
        ended = {r: p for r, p in self.processes.items() if p.poll() is not None}
        for role in ended:
            del self.processes[role]
        return {role for role, process in ended.items() if process.returncode == 0}

    def _start(self, role: str) -> None:
        own = self.folder / role
        own.mkdir(exist_ok=True)
        words = [
            sys.executable,
            str(MODULE),
            role,
            str(own),
            msgspec.json.encode(self.plan).decode(),
        ]
        with (own / "log").open("ab") as log:
            self.processes[role] = subprocess.Popen(words, stdout=log, stderr=log)


if __name__ == "__main__":
    main()
