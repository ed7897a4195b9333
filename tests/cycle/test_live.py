from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from liveweights.config import Config
from liveweights.cycle import live
from liveweights.cycle.ledger import Cycle, begin_release, current
from liveweights.cycle.pauses import pause
from liveweights.record.shadow import keep_shadow
from liveweights.record.shadow_answer import ShadowAnswer
from liveweights.release import aliases, canaries
from liveweights.release.alias import AliasError, StaleVersion
from liveweights.release.audience import count_audience
from liveweights.release.rollout import Move
from liveweights.release.settings import CanarySettings
from liveweights.store.database import open_pool

from .product import BAD, BASE, GOOD, Habit, Product

CANARY = CanarySettings(
    steps=(0.1, 0.5), step_rewards=5, step_seconds=0.0, lowest=-0.25, highest=0.75, unit="reward"
)


def with_product(
    dsn: str, home: Path, test: Callable[[Product], Awaitable[None]], **canary: object
) -> None:
    async def go() -> None:
        pool = await open_pool(dsn)
        try:
            settings = msgspec.structs.replace(CANARY, **canary)
            product = Product(
                pool, Config(canary=settings), home, {BASE: Habit(), GOOD: Habit(accepted=0.7)}
            )
            await product.fill()
            await test(product)
        finally:
            await pool.close()

    asyncio.run(go())


def ended(cycle: Cycle) -> bool:
    return cycle.state == "ended"


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (Habit(accepted=0.0), "worse than live"),
        (Habit(failed=1.0), "errors"),
        (Habit(seconds=3.0), "latency"),
        (Habit(silent=1.0), "silence"),
        (Habit(text="x = 1\n" * 100), "length"),
    ],
    ids=["rejected", "failing", "slow", "silent", "verbose"],
)
def test_what_shows_only_live_is_stopped_with_few_exposed(
    database_dsn: str, tmp_path: Path, harm: Habit, why: str
) -> None:
    async def test(product: Product) -> None:
        product.habits[BAD] = harm
        await product.try_out(BAD)
        cycle = await product.run(150, 20, ended)
        assert (cycle.outcome, cycle.candidate) == ("rolled_back", BAD)
        assert why in cycle.reason
        async with product.pool.connection() as conn:
            alias = await aliases.read(conn, "code")
            assert (alias.live, alias.canary) == (BASE, None)
            exposed = await count_audience(conn, "code", BAD)
        assert msgspec.to_builtins(exposed) == cycle.canary["exposed"]
        assert 0 < exposed.users <= 60
        if harm.failed:
            assert exposed.users <= 10

    with_product(database_dsn, tmp_path, test)


def test_a_better_one_goes_up_and_reaches_everyone_with_its_numbers(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(product: Product) -> None:
        await product.try_out(GOOD)
        cycle = await product.run(100, 20, ended)
        assert cycle.outcome == "promoted"
        assert cycle.canary["action"] == "PROMOTE"
        assert {g["name"] for g in cycle.canary["guards"]} >= {"errors", "latency", "silence"}
        async with product.pool.connection() as conn:
            cursor = await conn.execute(
                "select action, share, cycle from releases where checkpoint = %s order by id",
                (GOOD,),
            )
            rows = await cursor.fetchall()
        assert [row[0] for row in rows] == ["canary", "step", "promote"]
        assert [row[1] for row in rows[:2]] == pytest.approx([0.1, 0.5])
        assert {row[2] for row in rows} == {cycle.id}

    with_product(database_dsn, tmp_path, test)


def test_a_look_keeps_no_texts(database_dsn: str, tmp_path: Path) -> None:
    """However many answers there are."""
    count, size = 4000, 20_000

    async def test(product: Product) -> None:
        async with product.pool.connection() as conn:
            alias = await canaries.start_canary(conn, "code", GOOD, 0.5, reason="r")
            await conn.execute(
                "insert into generations select 'g' || n, now(), 'code',"
                " case when n %% 2 = 0 then %s else %s end, 'chat', '{}', '{}', '{}', '{}',"
                " repeat('x', %s), 'stop', 1, 1, null, 1, 't', null, null, '', '', true, '', 1, 1,"
                " '{}' from generate_series(1, %s) n",
                (BASE, GOOD, size, count),
            )
            await conn.execute("update releases set at = at - interval '1 hour'")
            tracemalloc.start()
            try:
                evidence = await live.read_evidence(conn, alias, product.config.rewards)
                judged = live.judge(evidence, product.config.canary, product.config.gate)
                _, peak = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        length = next(guard for guard in judged.look.guards if guard.name == "length")
        assert (length.canary, length.live) == (pytest.approx(size), pytest.approx(size))
        assert length.comparisons > count / 4
        assert peak < count * size / 2

    with_product(database_dsn, tmp_path, test)


def test_a_person_may_hold_it_and_promote_it_with_a_reason(
    database_dsn: str, tmp_path: Path
) -> None:
    async def override(product: Product, action: str) -> None:
        async with product.pool.connection() as conn:
            alias = await aliases.read(conn, "code")
            cycle = await current(conn, "code")
            assert cycle is not None
            await live.act(
                conn,
                alias,
                Move(action, f"by hand: {action}"),  # type: ignore[arg-type]
                product.config.canary,
                cycle=cycle.id,
                evidence={},
            )

    async def test(product: Product) -> None:
        await product.try_out(GOOD)
        await override(product, "hold")
        worker = product.worker()
        for _ in range(8):
            await product.use(20)
            worker.steps.trying.next_look = 0.0
            cycle = await worker.turn()
            assert cycle is not None
            assert cycle.state == "canary"
        async with product.pool.connection() as conn:
            assert (await aliases.read(conn, "code")).share == pytest.approx(0.1)
        await override(product, "promote")
        cycle = await product.run(1, 1, ended)
        assert (cycle.outcome, cycle.reason) == ("promoted", "promote by hand: by hand: promote")
        async with product.pool.connection() as conn:
            assert (await aliases.read(conn, "code")).live == GOOD

    with_product(database_dsn, tmp_path, test)


def test_a_canary_goes_on_while_learning_is_paused(database_dsn: str, tmp_path: Path) -> None:
    async def test(product: Product) -> None:
        await product.try_out(GOOD)
        async with product.pool.connection() as conn:
            await pause(conn, "code", "a launch", actor="ada")
        assert (await product.run(100, 20, ended)).outcome == "promoted"

    with_product(database_dsn, tmp_path, test)


def test_whoever_acts_on_an_old_view_is_refused(database_dsn: str, tmp_path: Path) -> None:
    async def test(product: Product) -> None:
        await product.try_out(GOOD)
        async with product.pool.connection() as conn:
            seen = await aliases.read(conn, "code")
            await canaries.hold_canary(conn, "code", True, reason="r")
            move = Move("promote", "r")
            with pytest.raises(StaleVersion):
                await live.act(conn, seen, move, product.config.canary, cycle=None, evidence={})
            assert (await aliases.read(conn, "code")).live == BASE
            with pytest.raises(AliasError, match="is canary"):
                await begin_release(conn, "code", BAD, "r")

    with_product(database_dsn, tmp_path, test)


def test_a_shadow_that_is_slow_is_stopped_before_anyone_sees_it(
    database_dsn: str, tmp_path: Path
) -> None:
    async def shade(product: Product, seconds: float) -> None:
        async with product.pool.connection() as conn:
            cursor = await conn.execute(
                "select id from generations where id not in (select generation from shadow_answers)"
            )
            for (generation,) in await cursor.fetchall():
                answer = ShadowAnswer(
                    generation=generation,
                    tenant="default",
                    user=None,
                    asked_at=datetime.now(UTC),
                    checkpoint=GOOD,
                    alias="code",
                    created_at=datetime.now(UTC),
                    session=None,
                    output="return total",
                    finish_reason="stop",
                    total_ms=seconds * 1000,
                )
                await keep_shadow(conn, answer)
                await keep_shadow(conn, answer)

    async def go(product: Product, seconds: float) -> Cycle:
        await product.try_out(GOOD)
        worker = product.worker()
        for _ in range(40):
            await product.use(5)
            await shade(product, seconds)
            worker.steps.trying.next_look = 0.0
            cycle = await worker.turn()
            assert cycle is not None
            async with product.pool.connection() as conn:
                alias = await aliases.read(conn, "code")
            if ended(cycle) or alias.share > 0:
                return cycle
        raise AssertionError

    async def test(product: Product) -> None:
        assert ended(cycle := await go(product, 9.0))
        assert "latency" in (cycle.reason or "")
        assert cycle.canary is not None
        assert cycle.canary["exposed"] == {"answers": 0, "sessions": 0, "users": 0}
        assert (await go(product, 0.3)).state == "canary"

    with_product(database_dsn, tmp_path, test, shadow=0.5, shadow_answers=200)


def test_one_user_alone_gets_a_canary_that_ends_by_its_answers(
    database_dsn: str, tmp_path: Path
) -> None:
    """Eighty answers in one session: a share of sessions would be none of them, or all."""

    async def test(product: Product) -> None:
        product.one_session = True
        await product.use(20)
        async with product.pool.connection() as conn:
            cycle = await begin_release(conn, "code", GOOD, "r")
            alias = await live.start(
                conn, "code", GOOD, product.config.canary, cycle=cycle.id, reason="r"
            )
        assert alias.by_answer
        assert alias.share == 0.5  # the last step: at that pace 10% would bring too few
        done = await product.run(40, 10, ended)
        assert done.outcome == "promoted"
        async with product.pool.connection() as conn:
            audience = await count_audience(conn, "code", GOOD)
        assert audience.users == 1
        assert 0 < audience.answers < product.asked

    with_product(database_dsn, tmp_path, test, max_seconds=1e4, step_rewards=10_000)


def test_many_sessions_stay_on_their_side(database_dsn: str, tmp_path: Path) -> None:
    async def test(product: Product) -> None:
        await product.use(30)
        async with product.pool.connection() as conn:
            cycle = await begin_release(conn, "code", GOOD, "r")
            alias = await live.start(
                conn, "code", GOOD, product.config.canary, cycle=cycle.id, reason="r"
            )
            assert (alias.by_answer, alias.share) == (False, CANARY.steps[0])
            worker = product.config.for_worker()
            judged = await live.weigh(
                conn, alias, rewards=worker.rewards, canary=worker.canary, gate=worker.gate
            )
            assert "this step ends with 5 rewards" in judged.move.reason

    with_product(database_dsn, tmp_path, test, step_seconds=60.0)
