from __future__ import annotations

import psycopg
from tests.record.rows import make_generation
from tests.record.test_window import ask, record

from liveweights.cycle import ledger
from liveweights.gate.calibration import Draft
from liveweights.gate.cases import CYCLES
from liveweights.gate.drafts import keep_drafts, read_drafts, remove_drafts
from liveweights.store.database import Connection

MODEL = "m@000000000001"
ASKED = {"a": "so", "b": "so", "gone": "so"}


def prepare(dsn: str) -> None:
    record(dsn, make_generation("a"), make_generation("b"))
    with psycopg.connect(dsn) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, card) values (%s, 'base', '/', '{}')",
            (MODEL,),
        )
        conn.execute("insert into aliases (name, live) values ('live', %s)", (MODEL,))


def test_an_answer_is_known_to_its_checkpoint_engine_and_question_only(database_dsn: str) -> None:
    prepare(database_dsn)

    async def go(conn: Connection) -> list[dict[str, Draft]]:
        cycle = await ledger.begin(conn, "live", {})
        await keep_drafts(
            conn,
            cycle.id,
            checkpoint=MODEL,
            engine="torch",
            drafts={"a": Draft("x\0", -1.5), "gone": Draft("y", -1.0)},
            asked=ASKED,
        )
        await keep_drafts(
            conn,
            cycle.id,
            checkpoint=MODEL,
            engine="torch",
            drafts={"a": Draft("later", -9.0), "b": Draft("", -2.0)},
            asked=ASKED,
        )
        return [
            await read_drafts(conn, MODEL, "torch", ASKED),
            await read_drafts(conn, MODEL, "torch", {"a": "otherwise", "b": "so"}),
            await read_drafts(conn, MODEL, "llama", ASKED),
            await read_drafts(conn, "m@000000000002", "torch", ASKED),
        ]

    assert ask(database_dsn, go) == [
        {"a": Draft("x\ufffd", -1.5), "b": Draft("", -2.0)},
        {"b": Draft("", -2.0)},
        {},
        {},
    ]


def test_answers_go_with_the_cycles_that_no_gate_looks_at(database_dsn: str) -> None:
    prepare(database_dsn)

    async def go(conn: Connection) -> list[dict[str, Draft]]:
        first = await ledger.begin(conn, "live", {})
        await ledger.advance(conn, first, "ended", outcome="rejected", reason="test")
        await keep_drafts(
            conn,
            first.id,
            checkpoint=MODEL,
            engine="torch",
            drafts={"a": Draft("x", -1.0)},
            asked=ASKED,
        )
        found: list[dict[str, Draft]] = []
        for _ in range(CYCLES):
            await remove_drafts(conn, "live")
            found.append(await read_drafts(conn, MODEL, "torch", {"a": "so"}))
            cycle = await ledger.begin(conn, "live", {})
            await ledger.advance(conn, cycle, "ended", outcome="rejected", reason="test")
        await remove_drafts(conn, "live")
        return [*found, await read_drafts(conn, MODEL, "torch", {"a": "so"})]

    assert ask(database_dsn, go) == [{"a": Draft("x", -1.0)}] * CYCLES + [{}]
