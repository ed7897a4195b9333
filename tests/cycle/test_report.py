from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import psycopg
import pytest

from liveweights.cli.evidence import show_report
from liveweights.console.cycles import plot_report
from liveweights.cycle import ledger
from liveweights.cycle.report import read_report
from liveweights.gate.findings import Measured, judge
from liveweights.gate.settings import GateSettings
from liveweights.gate.verdict import Evidence, decide
from liveweights.learn.job import Moved, Report
from liveweights.record.feedback import Feedback
from liveweights.record.forget import forget
from liveweights.record.generation import Generation
from liveweights.record.writer import Writer
from liveweights.release import aliases
from liveweights.store.database import Connection, open_pool

T = TypeVar("T")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
BASE = "base@000000000000"


def ask(dsn: str, question: Callable[[Connection], Coroutine[Any, Any, T]]) -> T:
    async def main() -> T:
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            return await question(conn)

    return asyncio.run(main())


@pytest.fixture
def cycle(database_dsn: str) -> int:
    """A cycle with a report about one answer and what its user wrote instead."""
    report = Report(
        signals={"rejected": 3},
        roles={"policy": 3},
        masks={"off_policy": 2},
        outliers={"0123456789ab": 5.5},
        rows=5,
        taught=3,
        masked=2,
        moved=[
            Moved(generation="gen_1", text="answer", before=-1.0, after=-3.0),
            Moved(generation="gen_1", text="truth", before=-2.0, after=-0.5),
        ],
        alarms=["server and trainer differ"],
        notes=["learn.rank (8) is for a new one"],
    )

    async def main() -> int:
        pool = await open_pool(database_dsn)
        async with Writer(pool, linger=0.0) as writer:
            await writer.add_generation(
                Generation(
                    id="gen_1",
                    created_at=NOW,
                    alias="code",
                    checkpoint=BASE,
                    endpoint="completion",
                    prompt_ids=[7],
                    output_ids=[8],
                    logprobs=[-1.0],
                    raw_logprobs=[-1.0],
                    output="bad()",
                    finish_reason="stop",
                    temperature=1.0,
                    top_p=1.0,
                    user="ada",
                )
            )
            await writer.add_feedback(
                Feedback(
                    id="f",
                    generation="gen_1",
                    signal="correction",
                    text="good()\n",
                    received_at=NOW,
                )
            )
        async with pool.connection() as conn:
            await conn.execute(
                "insert into checkpoints (id, kind, folder, card) values (%s, 'base', '/x', '{}')",
                (BASE,),
            )
            await aliases.create(conn, "code", BASE)
            opened = await ledger.begin(conn, "code", {})
            learning = await ledger.advance(conn, opened, "learning")
            found = msgspec.to_builtins(report)
            await ledger.advance(
                conn, learning, "ended", outcome="rejected", reason="no", learning=found
            )
        await pool.close()
        return opened.id

    return asyncio.run(main())


def test_a_report_has_the_texts_that_it_is_about(database_dsn: str, cycle: int) -> None:
    report = ask(database_dsn, lambda conn: read_report(conn, "code", cycle))
    assert report["outcome"] == "rejected"
    assert report["learning"]["masks"] == {"off_policy": 2}
    assert [m["wording"] for m in report["learning"]["moved"]] == ["bad()", "good()\n"]


def test_what_a_user_had_removed_is_not_in_it(database_dsn: str, cycle: int) -> None:
    async def remove(conn: Connection) -> dict[str, Any]:
        await forget(conn, "default", "ada")
        return await read_report(conn, "code", cycle)

    moved = ask(database_dsn, remove)["learning"]["moved"]
    assert [m["wording"] for m in moved] == [None, None]


def test_an_unknown_cycle_is_refused(database_dsn: str, cycle: int) -> None:
    with pytest.raises(LookupError, match="no cycle 99"):
        ask(database_dsn, lambda conn: read_report(conn, "code", 99))


def test_people_see_rows_masks_alarms_and_examples(
    database_dsn: str, cycle: int, capsys: pytest.CaptureFixture[str]
) -> None:
    show_report(ask(database_dsn, lambda conn: read_report(conn, "code", cycle)))
    shown = capsys.readouterr().out
    alarm, outlier = "alarm: server and trainer differ", "0123456789ab, 5.5 standard errors"
    note = "note: learn.rank (8) is for a new one"
    for words in ("2 off_policy", alarm, note, outlier, "gen_1"):
        assert words in shown


def test_people_see_what_suites_said(
    database_dsn: str, cycle: int, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = Measured(
        suite="search",
        version="1",
        margin=0.1,
        aim="no_harm",
        candidate=[1.0, 1.0, 0.0, 1.0],
        incumbent=[0.0, 1.0, 0.0, 0.0],
        groups=["a", "a", "b", "c"],
        planned=84,
    )
    findings = judge([measured], 0.95, 0.8)
    left_out = ("terminal was left out: no bubblewrap",)
    verdict = decide(Evidence(suites=findings, left_out=left_out), GateSettings())
    report = ask(database_dsn, lambda conn: read_report(conn, "code", cycle))
    show_report({**report, "verdict": msgspec.to_builtins(verdict)})
    shown = capsys.readouterr().out
    for words in ("search", "INCONCLUSIVE", "0.250 -> 0.750", "+0.500 [", *left_out):
        assert words in shown
    judged = plot_report({"verdict": msgspec.to_builtins(verdict)}).judged
    assert judged is not None
    assert "score on search" in judged
