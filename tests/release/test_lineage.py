from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import psycopg
import pytest
from psycopg.types.json import Jsonb

from liveweights.release import aliases
from liveweights.release.lineage import Lineage, read_lineage
from liveweights.store.database import Connection
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import NotRegistered, register

BASE, A, B = (f"{name}@000000000000" for name in ("base", "a", "b"))


async def generation(conn: Connection, id_: str, reactions: int) -> list[int]:
    """A generation with its feedback; the numbers of the latter."""
    await conn.execute(
        "insert into generations values (%s, now(), 'm', %s, 'completion', '{1}', '{2}', '{-1}',"
        " '{-1}', 'x', 'stop', 1, 1, null, 8, 'default', null, null, '', '', true, '', 1, 1, '{}')",
        (id_, BASE),
    )
    numbers: list[int] = []
    for k in range(reactions):
        cursor = await conn.execute(
            "insert into feedback (tenant, id, generation, signal, received_at)"
            " values ('default', %s, %s, 'accepted', now()) returning seq",
            (f"f-{id_}-{k}", id_),
        )
        row = await cursor.fetchone()
        assert row is not None
        numbers.append(row[0])
    return numbers


async def cycle(
    conn: Connection, incumbent: str, candidate: str, outcome: str, verdict: dict[str, object]
) -> int:
    cursor = await conn.execute(
        "insert into cycles (alias, state, incumbent, candidate, outcome, settings, verdict,"
        " ended_at) values ('m', 'done', %s, %s, %s, '{}', %s, now()) returning id",
        (incumbent, candidate, outcome, Jsonb(verdict)),
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def claim(conn: Connection, cycle: int, generation: str, feedback: int | None, split: str):
    await conn.execute(
        "insert into cycle_rows values (%s, %s, %s, %s)", (cycle, generation, feedback, split)
    )


def test_the_chain_goes_to_the_base_with_what_every_cycle_read(database_dsn: str) -> None:
    async def go() -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn) as conn:
            for id_, kind, parent in [
                (BASE, "base", None),
                (A, "adapter", BASE),
                (B, "adapter", A),
            ]:
                base = BASE if kind == "adapter" else None
                await register(conn, Checkpoint(id_, kind, Path("/"), base, parent), {})  # type: ignore[arg-type]
            await aliases.create(conn, "m", BASE)
            passed = {"outcome": "PASS", "reasons": ["held-back reward is better"]}
            one = await cycle(conn, BASE, A, "promoted", passed)
            two = await cycle(conn, A, B, "rejected", {"outcome": "FAIL", "reasons": ["silent"]})
            first, again = await generation(conn, "g1", 2)
            (judged,) = await generation(conn, "g2", 1)
            await generation(conn, "g3", 0)
            await claim(conn, one, "g1", first, "train")
            await claim(conn, one, "g1", again, "train")
            await claim(conn, one, "g2", judged, "held_back")
            await claim(conn, one, "g3", None, "train")
            await claim(conn, two, "g2", judged, "train")

            lineage = await read_lineage(conn, B, feedback_ids=True)
            assert (lineage.checkpoint, lineage.base) == (B, BASE)
            b, a, base = lineage.chain
            assert (b.cycle, b.outcome, b.verdict, b.reasons) == (
                two,
                "rejected",
                "FAIL",
                ("silent",),
            )
            assert (b.generations, b.held_back, b.feedback, b.feedback_ids) == (
                1,
                0,
                1,
                ("f-g2-0",),
            )
            assert (a.cycle, a.verdict, a.generations, a.held_back, a.feedback) == (
                one,
                "PASS",
                2,
                1,
                3,
            )
            assert a.feedback_ids == ("f-g1-0", "f-g1-1", "f-g2-0")
            assert (base.kind, base.cycle, base.feedback) == ("base", None, 0)
            assert msgspec.json.decode(msgspec.json.encode(lineage), type=Lineage) == lineage

            short = await read_lineage(conn, A)
            assert [ancestor.id for ancestor in short.chain] == [A, BASE]
            assert short.chain[0].feedback_ids == ()
            with pytest.raises(NotRegistered, match="nobody"):
                await read_lineage(conn, "nobody@1")

    asyncio.run(go())
