"""A model that learnt once: the whole path in a database, told by people who write badly."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import msgspec
from tests.record.rows import make_feedback, make_generation
from tests.release.test_aliases import A, B, C

from liveweights.access.oidc import Provider
from liveweights.app.sources import make_sources
from liveweights.config import Config
from liveweights.console.entry import Entry
from liveweights.console.pages import Console
from liveweights.console.subject import Subject
from liveweights.cycle import ledger
from liveweights.cycle.states import State
from liveweights.http.application import Application
from liveweights.http.hosts import Hosts
from liveweights.learn.job import Moved, Report
from liveweights.meter.levies import BillingSettings
from liveweights.record import window
from liveweights.record.writer import Writer
from liveweights.release import aliases, canaries, moves
from liveweights.serve.api.app import make_authenticator
from liveweights.serve.api.identifiers import identifier
from liveweights.serve.api.metrics import Metrics
from liveweights.serve.api.settings import ApiSettings
from liveweights.store.database import Pool, open_pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register
from liveweights.weights.vocabulary import keep_vocabulary

KEY = "s3cret-0123456789"
LOGIN = ("anyone", KEY)
HOSTILE = "<script>alert(1)</script> \u202eبسم\u202c 😀 " + "x" * 30_000
SETTINGS = Config(alias="m")
SUBJECT = Subject(
    workers={"m": SETTINGS.for_worker("m")},
    hosted=["upstream"],
    home=Path("/nowhere"),
    billing=BillingSettings(seller="Weights & <b>Co</b>"),
    databases=Path("/nowhere"),
    sources=make_sources(lambda: SETTINGS, Path("/nowhere")),
)


def name_of(number: int, now: datetime) -> str:
    """The id of an answer, ``number`` minutes ago."""
    at = now - timedelta(minutes=number)
    return identifier("gen", int(at.timestamp() * 1000), number)


async def tell(pool: Pool, now: datetime, *, answers: int = 60) -> int:
    """``answers`` of A, with reactions to three; a cycle learns B from them, which is live and has
    answered once; the cycle's number. Answer 1 is the newest, of B; 2 has the hostile words."""
    async with pool.connection() as conn:
        await register(conn, Checkpoint(A, "base", Path("/")), {})
        await register(conn, Checkpoint(B, "adapter", Path("/"), A, A), {})
        await register(conn, Checkpoint(C, "adapter", Path("/"), A, B), {})
        await aliases.create(conn, "m", A)
        await keep_vocabulary(conn, A, {1: b"write ", 2: b"a ", 3: b"<b>poem</b>"})

    def answer(number: int, **changes: Any) -> Any:
        at = now - timedelta(minutes=number)
        values: dict[str, Any] = {
            "alias": "m",
            "checkpoint": A,
            "session": f"s{number % 7}",
            "created_at": at,
        }
        values["prompt_ids"] = [1, 2, 3]
        return make_generation(name_of(number, now), **{**values, **changes})

    async with Writer(pool, linger=0.0) as writer:
        for number in range(2, answers + 2):
            words = HOSTILE if number == 2 else f"answer {number}"
            await writer.add_generation(answer(number, output=words, user=words[:60]))
        for number, signal, text in ((2, "correction", HOSTILE), (3, "rejected", None)):
            reaction = make_feedback(
                f"f{number}", name_of(number, now), signal=signal, text=text, received_at=now
            )
            await writer.add_feedback(reaction)
        oldest = name_of(answers + 1, now)  # in an hour of its own, of sixty
        await writer.add_feedback(make_feedback("f", oldest, received_at=now))
    cycle = await _turn(pool, now)
    async with Writer(pool, linger=0.0) as writer:
        await writer.add_generation(answer(1, checkpoint=B))
    return cycle


async def _turn(pool: Pool, now: datetime) -> int:
    report = Report(
        signals={"correction": 1, "rejected": 1, "accepted": 1},
        rows=3,
        taught=3,
        masks={"off_policy": 2},
        moved=[Moved(generation=name_of(2, now), text="truth", before=-2.0, after=-0.5)],
        alarms=["server and trainer <b>differ</b>"],
    )
    async with pool.connection() as conn:
        cycle = await ledger.begin(conn, "m", {})
        await window.claim(
            conn, cycle.id, "m", held_back_share=0.0, max_rows=100, max_held_back=100
        )
        steps: tuple[tuple[State, dict[str, Any]], ...] = (
            ("learning", {}),
            ("calibrating", {"candidate": B, "learning": msgspec.to_builtins(report)}),
            ("warming", {}),
            ("gating", {}),
            ("canary", {"verdict": {"outcome": "PASS", "reasons": ["it is <i>better</i>"]}}),
        )
        for state, columns in steps:
            cycle = await ledger.advance(conn, cycle, state, **columns)
        await canaries.start_canary(conn, "m", B, 0.1, cycle=cycle.id, reason="the gate passed")
        await moves.promote(conn, "m", B, cycle=cycle.id, reason="<b>better</b> live")
        await ledger.advance(conn, cycle, "ended", outcome="promoted", reason="it is live")
    return cycle.id


Test = Callable[[httpx.AsyncClient, Pool, int], Awaitable[None]]


def make_console(
    pool: Pool,
    writer: Writer,
    key: str = KEY,
    *,
    provider: Provider | None = None,
    subject: Subject = SUBJECT,
) -> tuple[Console, Application]:
    """The console, and an application with nothing else."""
    settings = ApiSettings(operator_key=key)
    entry = Entry(pool, make_authenticator(settings), settings, provider=provider)
    console = Console(pool, lambda: subject, entry, writer)
    return console, Application(console.routes(), Metrics(), Hosts(()))


def app_of(client: httpx.AsyncClient) -> Application:
    """What answers it, for clients beside it."""
    transport: Any = client._transport
    return transport.app


def on_pages(
    dsn: str, test: Test, *, key: str = KEY, answers: int = 60, subject: Subject = SUBJECT
) -> None:
    """Runs ``test`` with a client, the pool, and the cycle's number."""

    async def go() -> None:
        pool = await open_pool(dsn)
        cycle = await tell(pool, datetime.now(UTC), answers=answers)
        async with Writer(pool, linger=0.0) as writer:
            _, app = make_console(pool, writer, key, subject=subject)
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://here:8090") as asks:
                await test(asks, pool, cycle)
        await pool.close()

    asyncio.run(go())
