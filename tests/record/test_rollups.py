"""The rollups are what the raw rows add up to: in any order, from any writers, whatever dies."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from liveweights.record import rollups
from liveweights.record.binary import Row
from liveweights.record.feedback import Feedback
from liveweights.record.forget import forget
from liveweights.record.generation import Generation
from liveweights.record.rollups import Difference
from liveweights.record.survival import survival
from liveweights.record.writer import Writer
from liveweights.store.database import Connection, Pool, open_pool
from liveweights.store.partitions import ensure_ahead

from .rows import make_feedback, make_generation
from .test_window import ask, record


async def charge(conn: Connection, rows: Sequence[Row], *, again: bool) -> list[int]:
    return [500 * row.counts.prompt + 1500 * row.counts.output for row in rows]


DAY = datetime(2026, 2, 1, tzinfo=UTC)
TABLES = "generations, feedback, feedback_keys, rollups, rollup_histograms, forgotten"


def timed_id(at: datetime, number: int) -> str:
    """As the API makes them: a version 7 UUID."""
    return f"gen_{int(at.timestamp() * 1000):012x}7000{number:016x}"


def differences(dsn: str) -> list[Difference]:
    return ask(dsn, rollups.differences)


def total(dsn: str, *names: str, width: int = 1440) -> tuple[Any, ...]:
    sums = ", ".join(f"sum({name})::bigint" for name in names)
    with psycopg.connect(dsn) as conn:
        row = conn.execute(
            f"select {sums} from rollups where not whole and width = {width}".encode()
        ).fetchone()
        assert row is not None
        return row


@dataclass(frozen=True)
class Step:
    """One action of one of two writers."""

    writer: int
    generation: int
    signal: str
    value: float
    text: str
    repeat: bool


signals = st.sampled_from(
    ["accepted", "rejected", "shown", "edited", "thumbs", "reward", "comment", "correction"]
)
steps = st.lists(
    st.builds(
        Step,
        writer=st.integers(0, 1),
        generation=st.integers(0, 7),
        signal=signals,
        value=st.sampled_from([-1.0, -0.3, 0.123457, 1.0]),
        text=st.sampled_from(["", "x = 1", "x = 2", "y"]),
        repeat=st.booleans(),
    ),
    max_size=30,
)
answers = st.lists(
    st.tuples(
        st.integers(0, 3 * 24 * 60),  # minutes after DAY
        st.sampled_from(["x = 1", "x = 1 + 1", ""]),
        st.sampled_from(["stop", "cancelled", "error"]),
        st.sampled_from(["a@1", "b@2"]),
        st.sampled_from(["ada", "bob", None]),
        st.floats(0, 1e7, width=32),
        st.booleans(),
    ),
    min_size=8,
    max_size=8,
)


def worth_of(output: str, feedback: list[Feedback]) -> float | None:
    """What dashboards take an answer to be worth: the strongest signal decides, then the last.

    Accepted is worth 0.75, rejected -0.25, silence 0.125.
    """
    strength = {"reward": 4, "thumbs": 3, "edited": 2, "accepted": 1, "rejected": 1}
    telling = [f for f in feedback if f.signal in strength]
    if not telling:
        corrected = any(f.signal == "correction" for f in feedback)
        return 0.125 if not output else -0.25 if corrected else None
    strongest = max(strength[f.signal] for f in telling)
    f = [f for f in telling if strength[f.signal] == strongest][-1]
    kept = {"accepted": 1.0, "rejected": 0.0, "edited": survival(output, f.text or "")}
    if f.signal in kept:
        return 0.75 * kept[f.signal] - 0.25 * (1 - kept[f.signal])
    return f.value


def expected_rewards(
    generations: list[Generation], feedback: list[Feedback]
) -> tuple[float, int, int]:
    """Sum of worths, how many, and how many last clicks accepted."""
    by_generation: dict[str, list[Feedback]] = defaultdict(list)
    for f in feedback:
        by_generation[f.generation].append(f)
    worth = [
        worth_of(g.output, by_generation[g.id])
        for g in generations
        if g.finish_reason not in ("cancelled", "error")
    ]
    clicks = [
        [f.signal for f in by_generation[g.id] if f.signal in ("accepted", "rejected")]
        for g in generations
    ]
    return (
        sum(one for one in worth if one is not None),
        sum(one is not None for one in worth),
        sum(one[-1:] == ["accepted"] for one in clicks),
    )


def make_answer(number: int, answer: tuple[Any, ...]) -> Generation:
    minutes, output, reason, checkpoint, user, ms, timed = answer
    at = DAY + timedelta(minutes=minutes)
    return make_generation(
        timed_id(at, number) if timed else f"g{number}",
        created_at=at,
        output=output,
        finish_reason=reason if not output else "stop",
        checkpoint=checkpoint,
        user=user,
        first_token_ms=ms / 2,
        total_ms=ms,
        surface="editor" if number % 2 else "",
    )


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(answers=answers, steps=steps, batch_rows=st.integers(1, 9), who=st.sampled_from("ab"))
def test_rollups_equal_what_raw_rows_add_up_to(
    database_dsn: str, answers: list[tuple[Any, ...]], steps: list[Step], batch_rows: int, who: str
) -> None:
    """Two writers at once, every signal, repeats, days apart, and a user who is forgotten."""
    with psycopg.connect(database_dsn) as conn:
        conn.execute(f"truncate {TABLES}".encode())
    generations = [make_answer(number, answer) for number, answer in enumerate(answers)]

    async def main() -> None:
        pool = await open_pool(database_dsn)
        options: dict[str, Any] = {"linger": 0.0, "batch_rows": batch_rows, "charge": charge}
        async with Writer(pool, **options) as one, Writer(pool, **options) as two:
            writers = (one, two)
            await asyncio.gather(
                *(writers[n % 2].add_generation(g) for n, g in enumerate(generations))
            )
            await asyncio.gather(*(one.add_generation(g) for g in generations[:3]))
            await asyncio.gather(one.flush(), two.flush())
            sending: list[Any] = []
            for number, step in enumerate(steps):
                g = generations[step.generation]
                f = make_feedback(
                    f"f{0 if step.repeat else number}",
                    g.id,
                    signal=step.signal,
                    value=step.value if step.signal in ("reward", "thumbs") else None,
                    text=step.text if step.signal == "edited" else None,
                    received_at=g.created_at + timedelta(hours=number),
                )
                sending.append(writers[step.writer].add_feedback(f))
            await asyncio.gather(*sending, return_exceptions=True)
        await pool.close()

    asyncio.run(main())
    assert differences(database_dsn) == []
    check_against_brute_force(database_dsn, generations)
    name = {"a": "ada", "b": "bob"}[who]
    ask(database_dsn, lambda conn: forget(conn, "default", name))
    assert differences(database_dsn) == []
    check_against_brute_force(database_dsn, [g for g in generations if g.user != name])


def check_against_brute_force(dsn: str, generations: list[Generation]) -> None:
    with psycopg.connect(dsn) as conn:
        columns = "id, generation, signal, value, text, tenant, received_at"
        rows = conn.execute(f"select {columns} from feedback order by seq".encode()).fetchall()
    feedback = [Feedback(**dict(zip(columns.split(", "), row, strict=True))) for row in rows]
    worth, rewarded, accepted = expected_rewards(generations, feedback)
    found = total(
        dsn,
        "generations",
        "accepted",
        "reacted + silent - silent_reacted",
        "cost_nanos",
        "value_micros",
        "accepted_micros",
        "rejected_micros",
        "silent - silent_reacted",
    )
    if not generations:
        assert found[0] in (None, 0)
        return
    broken = [g for g in generations if g.finish_reason in ("cancelled", "error")]
    reacted_to = {f.generation for f in feedback}
    assert found[0] == len(generations)
    assert found[1] == accepted
    assert found[3] == len(generations) * 4500
    if not any(g.id in reacted_to for g in broken):  # no answers, whatever is said of them
        assert found[2] == rewarded
        values, kept, dismissed, silent = (part / 1e6 for part in found[4:])
        mean = values + 0.75 * kept - 0.25 * dismissed + 0.125 * silent * 1e6
        assert mean == pytest.approx(worth, abs=1e-4)


def test_late_feedback_corrects_its_own_bucket_with_its_commit(database_dsn: str) -> None:
    at = datetime.now(UTC) - timedelta(days=9)
    g = make_generation(timed_id(at, 1), created_at=at)
    record(database_dsn, g)
    query = (
        "select accepted, rejected from rollups where not whole and width = 5"
        " and bucket = date_bin('5 minutes', %s, 'epoch')"
    )

    async def main() -> None:
        pool = await open_pool(database_dsn)
        async with Writer(pool) as writer, pool.connection() as conn:
            for signal, counts in (("accepted", (1, 0)), ("rejected", (0, 1))):
                await writer.add_feedback(make_feedback(signal, g.id, signal=signal))
                cursor = await conn.execute(query, (at,))
                assert await cursor.fetchall() == [counts]
        await pool.close()

    asyncio.run(main())


def test_rebuilding_restores_what_was_spoilt(database_dsn: str) -> None:
    record(
        database_dsn,
        *(make_generation(f"g{n}", created_at=DAY + timedelta(hours=n)) for n in range(60)),
        *(make_feedback(f"f{n}", f"g{n}") for n in range(30)),
    )
    with psycopg.connect(database_dsn) as conn:
        conn.execute("update rollups set accepted = accepted + 1 where width = 60")
        conn.execute("delete from rollup_histograms where bin < 40")
    found = differences(database_dsn)
    assert {(one.table, one.width) for one in found} >= {("rollups", 60), ("rollup_histograms", 5)}
    assert found[-1].rollup["accepted"] == found[-1].raw["accepted"] + 1
    day = DAY + timedelta(days=1)
    ask(database_dsn, lambda conn: rollups.rebuild(conn, DAY, day))
    assert differences(database_dsn) == [one for one in found if one.bucket >= day]
    ask(database_dsn, rollups.rebuild)
    assert differences(database_dsn) == []


@pytest.mark.fault
def test_rollups_stay_right_while_connections_die_and_a_rebuild_runs(database_dsn: str) -> None:
    """Three writers, late and early rows, cut off at random; somebody rebuilds meanwhile."""
    rng = random.Random(7)

    async def disturb(pool: Pool, stop: asyncio.Event) -> None:
        async with await psycopg.AsyncConnection.connect(database_dsn, autocommit=True) as conn:
            for number in range(10**6):
                if stop.is_set():
                    return
                await asyncio.sleep(rng.uniform(0.05, 0.4))
                if number % 3 == 2:
                    await rollups.rebuild(conn)
                    continue
                await conn.execute(
                    "select pg_terminate_backend(pid) from (select pid from pg_stat_activity"
                    " where datname = current_database() and pid <> pg_backend_pid()"
                    " order by random() limit 2) unlucky"
                )

    async def main() -> None:
        pool = await open_pool(database_dsn)
        stop = asyncio.Event()
        async with (
            Writer(pool, batch_rows=20) as a,
            Writer(pool, batch_rows=20) as b,
            Writer(pool, batch_rows=20) as c,
        ):
            disturbing = asyncio.create_task(disturb(pool, stop))

            async def user(writer: Writer, name: str) -> None:
                for n in range(10):
                    at = DAY + timedelta(days=rng.randrange(3), minutes=rng.randrange(1440))
                    id = timed_id(at, int(name, 36) * 1000 + n)
                    await writer.add_generation(make_generation(id, created_at=at))
                    await writer.flush()
                    other = rng.choice((a, b, c))
                    await asyncio.gather(
                        *(
                            w.add_feedback(make_feedback(f"{id}{s}{k}", id, signal=s))
                            for k, (w, s) in enumerate(((writer, "rejected"), (other, "accepted")))
                        )
                    )

            await asyncio.gather(
                *(
                    user(w, f"{w_name}{n}")
                    for w_name, w in (("a", a), ("b", b), ("c", c))
                    for n in range(4)
                )
            )
            stop.set()
            await disturbing
        await pool.close()

    asyncio.run(main())
    assert total(database_dsn, "generations", "feedback") == (120, 240)
    assert differences(database_dsn) == []


def test_partitions_are_there_before_they_are_needed(database_dsn: str) -> None:
    assert ask(database_dsn, ensure_ahead) == 24
    assert ask(database_dsn, ensure_ahead) == 0
