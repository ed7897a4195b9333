"""How fast is feedback acknowledged, and is what was acknowledged really there?

Feedback through the writer (one transaction for all that wait, rollups included) against one
transaction per request on a pool, both with fsync. Then Postgres, the writer's process, or both
are killed with SIGKILL under load, again and again, and every acknowledged row is looked for.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from _report import Cell, arguments, finish, table
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.record.rollups import differences
from liveweights.record.spill import Spill
from liveweights.record.writer import Writer
from liveweights.serve.api.identifiers import make_id
from liveweights.store.database import Pool, open_pool
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.store.migrate import migrate

CLIENTS = (1, 32, 256)
PLAIN = """
create table if not exists plain_feedback (
    tenant text, id text, generation text, signal text, received_at timestamptz,
    primary key (tenant, id)
)
"""


def make_generation() -> Generation:
    return Generation(
        id=make_id("gen"),
        created_at=datetime.now(UTC),
        alias="code",
        checkpoint="m@000000000000",
        endpoint="completion",
        prompt_ids=[7] * 32,
        output_ids=[7] * 12,
        logprobs=[-0.5] * 12,
        raw_logprobs=[-0.5] * 12,
        output="return total / len(values)",
        finish_reason="stop",
        temperature=0.8,
        top_p=0.95,
        max_tokens=64,
        user="ada",
        surface="editor",
    )


def make_feedback(generation: str) -> Feedback:
    return Feedback(
        id=make_id("fb"),
        generation=generation,
        signal="accepted",
        received_at=datetime.now(UTC),
    )


def main() -> None:
    if len(sys.argv) > 1 and sys.argv[1] == "users":
        asyncio.run(_users(sys.argv[2], Path(sys.argv[3])))
        return
    options = arguments(__doc__ or "", seconds=(10, "per measurement"), kills=(50, "in all"))
    if options.quick:
        options.seconds, options.kills = 1, 4
    folder = Path(tempfile.mkdtemp(prefix="liveweights-bench-"))
    folder.chmod(0o711)
    server = EmbeddedPostgres(folder / "postgres")
    try:
        server.start()
        migrate(server.dsn)
        figures, peers = asyncio.run(_measure(server.dsn, options.seconds))
        figures["kills"] = _kill(server, folder / "spill", options.kills)
    finally:
        server.destroy()
        shutil.rmtree(folder, ignore_errors=True)
    finish("writer", options, figures, peers)


async def _measure(dsn: str, seconds: float) -> tuple[dict[str, Any], dict[str, Any]]:
    pool = await open_pool(dsn, max_size=32)
    figures: dict[str, Any] = {}
    peers: dict[str, Any] = {}
    lines: list[tuple[Cell, ...]] = []
    async with Writer(pool) as writer:
        generations = [make_generation() for _ in range(2000)]
        for generation in generations:
            await writer.add_generation(generation)
        await writer.flush()
        ids = [generation.id for generation in generations]
        async with pool.connection() as conn:
            await conn.execute(PLAIN.encode())

        async def grouped(generation: str) -> None:
            await writer.add_feedback(make_feedback(generation))

        for clients in CLIENTS:
            for name, send, found in (
                ("liveweights writer", grouped, figures),
                ("a transaction each", lambda id: _alone(pool, id), peers),
            ):
                rate, times = await _load(send, ids, clients, seconds)
                p50, p99 = statistics.median(times), sorted(times)[int(0.99 * len(times))]
                found[f"{clients}_clients"] = {"per_s": rate, "p50_ms": p50, "p99_ms": p99}
                lines.append((clients, name, rate, p50, p99))
    await pool.close()
    columns = ("clients", "", "acknowledged per s", "p50 ms", "p99 ms")
    table("Feedback, durable when acknowledged", columns, lines)
    return figures, {"a transaction each": peers}


async def _alone(pool: Pool, generation: str) -> None:
    f = make_feedback(generation)
    async with pool.connection() as conn:
        await conn.execute(
            "insert into plain_feedback values (%s, %s, %s, %s, %s)",
            (f.tenant, f.id, f.generation, f.signal, f.received_at),
        )


async def _load(
    send: Callable[[str], Awaitable[None]], ids: list[str], clients: int, seconds: float
) -> tuple[float, list[float]]:
    """Acknowledgements per second, and milliseconds of each."""
    times: list[float] = []
    began = time.perf_counter()

    async def client() -> None:
        while time.perf_counter() - began < seconds:
            sent = time.perf_counter()
            await send(random.choice(ids))
            times.append(1000 * (time.perf_counter() - sent))

    await asyncio.gather(*(client() for _ in range(clients)))
    return len(times) / (time.perf_counter() - began), times


async def _users(dsn: str, spill: Path) -> None:
    """A process of users that print the id of every acknowledged feedback."""
    pool = await open_pool(dsn)
    async with Writer(pool, spill=Spill(spill)) as writer:

        async def user() -> None:
            while True:
                generation = make_generation()
                await writer.add_generation(generation)
                feedback = make_feedback(generation.id)
                await writer.add_feedback(feedback)
                print(feedback.id, flush=True)

        await asyncio.gather(*(user() for _ in range(32)))


def _kill(server: EmbeddedPostgres, spill: Path, kills: int) -> dict[str, Any]:
    rng = random.Random(1)
    acknowledged: list[str] = []
    process: subprocess.Popen[str] | None = None
    victims = {"postgres": 0, "writer": 0, "both": 0}
    for number in range(kills):
        if process is None:
            command = [sys.executable, __file__, "users", server.dsn, str(spill)]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        for _ in range(rng.randrange(100, 400)):
            acknowledged.append(process.stdout.readline().strip())
        victim = ("postgres", "writer", "both")[number % 3]
        victims[victim] += 1
        if victim != "writer":
            assert server.pid is not None
            os.kill(server.pid, signal.SIGKILL)
        if victim != "postgres":
            process.kill()
            acknowledged += process.stdout.read().split()
            process.wait()
            process = None
        if victim != "writer":
            server.start()
    if process is not None:
        process.kill()
        assert process.stdout is not None
        acknowledged += process.stdout.read().split()
        process.wait()
    with psycopg.connect(server.dsn) as conn:
        stored = [id for (id,) in conn.execute("select id from feedback where id like 'fb_%'")]
        keys = conn.execute("select count(*) from feedback_keys").fetchone()
    found = {
        **victims,
        "acknowledged": len(acknowledged),
        "lost": len(set(acknowledged) - set(stored)),
        "doubled": len(stored) - len(set(stored)),
        "keys_without_row": (keys or [0])[0] - len(stored),
        "wrong_rollups": asyncio.run(_count_wrong(server.dsn)),
    }
    table(f"After {kills} times kill -9", tuple(found), [tuple(found.values())])
    return found


async def _count_wrong(dsn: str) -> int:
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        return len(await differences(conn))


if __name__ == "__main__":
    main()
