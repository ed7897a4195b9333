"""What a gate has been answered is not lost with what it was not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pytest
from tests.record.rows import make_generation
from tests.record.test_window import ask, record

from liveweights.cycle import ledger
from liveweights.gate import drafting
from liveweights.gate.calibration import Asked, Draft
from liveweights.gate.drafting import Drafting
from liveweights.gate.questions import NotReady
from liveweights.gate.scoring import Case
from liveweights.record.generation import Generation
from liveweights.store.database import open_pool

from .test_drafts import MODEL, prepare

OTHER = "m@000000000002"
TOLD = Draft("x", -1.0)


def test_a_part_that_fails_is_asked_again_what_it_did_not_answer_the_shortest_session_first(
    database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(database_dsn)
    with psycopg.connect(database_dsn) as conn:
        conn.execute(
            "insert into checkpoints (id, kind, folder, base, card)"
            " values (%s, 'adapter', '/', %s, '{}')",
            (OTHER, MODEL),
        )
    lengths = {"long": ("s", 9), "short": ("t", 2), "begun": ("s", 3), "other": ("u", 5)}
    rows = [
        make_generation(id, endpoint="chat", checkpoint="m@0", prompt_ids=[1] * length)
        for id, (_, length) in lengths.items()
    ]
    cases = [(Case(one.id, lengths[one.id][0], None), one) for one in rows]
    record(database_dsn, *rows)
    cycle = ask(database_dsn, lambda conn: ledger.begin(conn, "live", {})).id
    asked: list[tuple[str, str]] = []
    away = True

    async def answer(
        url: str,
        checkpoint: str,
        cases: Sequence[tuple[Case, Generation]],
        *,
        answered: Callable[[str, Draft], None],
        **how: Any,
    ) -> dict[str, Draft]:
        for case, _ in cases:
            asked.append((checkpoint, case.generation))
            if away and checkpoint == MODEL and case.generation == "long":
                raise NotReady("it restarts")
            await asyncio.sleep(0)
            answered(case.generation, TOLD)
        return {case.generation: TOLD for case, _ in cases}

    monkeypatch.setattr(drafting, "ask", answer)

    async def draft() -> list[Asked]:
        pool = await open_pool(database_dsn)
        try:
            return await Drafting(
                pool=pool,
                url="",
                key="",
                engine="e",
                cycle=cycle,
                candidate=MODEL,
                incumbent=OTHER,
            ).draft(cases)
        finally:
            await pool.close()

    with pytest.raises(NotReady):
        asyncio.run(draft())
    order = ["short", "other", "begun", "long"]
    assert [id for checkpoint, id in asked if checkpoint == MODEL] == order
    assert [id for checkpoint, id in asked if checkpoint == OTHER] == order
    asked.clear()
    away = False
    assert [one.case.generation for one in asyncio.run(draft())] == list(lengths)
    assert asked == [(MODEL, "long")]
