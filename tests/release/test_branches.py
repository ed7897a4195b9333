"""Tenants' own branches of a model: made, followed, served within a bound, taken back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.release.scripted import ScriptedEngine
from tests.release.test_deployer import BASE, QUICK, TOPS, A, B, C, Circle, D

from liveweights.release import aliases, branches, canaries, moves
from liveweights.release.alias import Alias, AliasError, AnotherTenant
from liveweights.release.deployer import Deployer
from liveweights.release.deployments import Desired, order, order_own
from liveweights.release.settings import DeploymentSettings
from liveweights.store.database import open_pool

OWNERS = {A: "acme", B: "bolt", C: "cord"}


def branch(tenant: str, live: str, canary: str | None = None) -> Alias:
    return Alias(f"m:{tenant}", live, canary, 0.5, 1, model="m", tenant=tenant)


def desire(*branches: Alias, warm: tuple[str, ...] = (), **owned: str) -> Desired:
    return Desired(
        aliases=(Alias("m", BASE, None, 0.0, 1, model="m"), *branches),
        warm=warm,
        former={},
        versions={},
        owned={checkpoint: tenant for tenant, listed in owned.items() for checkpoint in listed},
    )


def test_what_was_asked_for_last_stays() -> None:
    wanted = desire(
        branch("x", "x1"), branch("y", "y1", "y2"), branch("z", "z1"),
        x=("x1",), y=("y1", "y2"), z=("z1",),
    )  # fmt: skip
    assert order(wanted, 1, 4) == [BASE]
    assert order_own(wanted, [], 4) == []  # nobody asked for them
    assert order_own(wanted, ["m:z", "m:y", "m:x"], 9) == ["z1", "y1", "y2", "x1"]
    assert order_own(wanted, ["m:z", "m:y", "m:x"], 3) == ["z1", "y1", "y2"]
    assert order_own(wanted, ["m:z", "m:y", "m:x"], 2) == ["z1"]  # a canary and its arm stay one
    assert order_own(wanted, ["m:gone", "m:x"], 2) == ["x1"]


def test_what_is_judged_comes_first_with_what_it_is_compared_with() -> None:
    wanted = desire(branch("x", "x1"), branch("y", "y1"), warm=("y2",), x=("x1",), y=("y1", "y2"))
    assert order_own(wanted, ["m:x"], 3) == ["y2", "y1", "x1"]
    assert order_own(wanted, ["m:x"], 2) == ["y2", "y1"]
    assert order(wanted, 0, 4) == [BASE]
    first = desire(branch("y", "old"), warm=("y2",), y=("y2",))
    assert order_own(first, [], 4) == ["y2", "old"]  # the shared one of when its cycle began
    assert not first.branches  # and until then it gets what all get


@given(st.permutations(["a", "b", "c", "d", "e"]), st.integers(2, 12))
def test_the_bound_holds(recent: list[str], most: int) -> None:
    branches = [branch(name, f"{name}1", f"{name}2") for name in recent]
    owned = {name: (f"{name}1", f"{name}2") for name in recent}
    kept = order_own(desire(*branches, **owned), [f"m:{name}" for name in recent], most)
    assert kept == [f"{name}{n}" for name in recent for n in (1, 2)][: most // 2 * 2]


def run(dsn: str, folder: Path, test: Callable[[Circle], Awaitable[None]]) -> None:
    """A service whose adapters A, B and C are each a tenant's, and D everybody's."""

    async def go() -> None:
        pool = await open_pool(dsn)
        try:
            engine = ScriptedEngine({name: dict(top) for name, top in TOPS.items()})
            circle = Circle(dsn, pool, engine, folder)
            await circle.fill()
            async with pool.connection() as conn:
                for name, tenant in OWNERS.items():
                    card = f'{{"tenant": "{tenant}"}}'
                    await conn.execute(
                        "update checkpoints set card = %s where id = %s", (card, name)
                    )
            await test(circle)
        finally:
            await pool.close()

    asyncio.run(go())


def test_a_branch_begins_with_what_all_have_and_follows_until_it_has_its_own(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(c: Circle) -> None:
        async with c.pool.connection() as conn:
            made = await branches.create_branch(conn, "m", "acme")
            assert (made.name, made.live, made.model, made.tenant) == ("m:acme", BASE, "m", "acme")
            assert await branches.create_branch(conn, "m", "acme") == made
            await moves.promote(conn, "m", D, reason="better for all")
            assert (await aliases.read(conn, "m:acme")).live == BASE
            await branches.follow_shared(conn, "m:acme")
            assert (await aliases.read(conn, "m:acme")).live == D
            await moves.promote(conn, "m:acme", A, reason="better for acme")
            await branches.follow_shared(conn, "m:acme")
            await branches.follow_shared(conn, "m")
            assert (await aliases.read(conn, "m:acme")).live == A
            assert (await aliases.read(conn, "m")).live == D
            (own,) = await branches.read_own(conn, "m")
            assert (own.tenant, own.live, own.canary) == ("acme", A, None)
            (ended,) = await branches.retire(conn, "acme", "gone")
            assert ended.name == "m:acme"
            assert (await aliases.read(conn, "m:acme")).live == D
            cursor = await conn.execute(
                "select action, checkpoint, tenant from swaps where alias = 'm:acme' order by id"
            )
            assert await cursor.fetchall() == [
                ("create", BASE, "acme"),
                ("promote", D, "acme"),
                ("promote", A, "acme"),
                ("rollback", D, "acme"),
            ]

    run(database_dsn, tmp_path, test)


def test_what_is_a_tenants_own_answers_under_no_other_alias(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(c: Circle) -> None:
        async with c.pool.connection() as conn:
            await branches.create_branch(conn, "m", "acme")
            for name, checkpoint in (("m", A), ("m:acme", B)):
                with pytest.raises(AnotherTenant, match="nobody else is answered by it"):
                    await moves.promote(conn, name, checkpoint, reason="by hand")
                with pytest.raises(AnotherTenant):
                    await canaries.start_canary(conn, name, checkpoint, 0.5, reason="by hand")
            await aliases.create(conn, "m:bolt", BASE)
            with pytest.raises(AliasError, match="call that model otherwise"):
                await branches.create_branch(conn, "m", "bolt")

    run(database_dsn, tmp_path, test)


def deploy(c: Circle, most: int = 16, *, per_tenant: bool = True) -> Deployer:
    settings = DeploymentSettings(
        interval=QUICK.interval, heartbeat=QUICK.heartbeat, max_tenant_adapters=most
    )
    return Deployer(
        c.pool,
        c.dsn,
        c.engine,
        c.router,
        instance="one",
        settings=settings,
        cache=c.folder / "cache",
        per_tenant=per_tenant,
    )


async def give_their_own(c: Circle) -> None:
    async with c.pool.connection() as conn:
        for checkpoint, tenant in OWNERS.items():
            await branches.create_branch(conn, "m", tenant)
            await moves.promote(conn, f"m:{tenant}", checkpoint, reason="test")


def answer(c: Circle, tenant: str | None) -> str:
    with c.router.pin("m", None, tenant=tenant) as pin:
        return pin.checkpoint


def test_tenants_adapters_are_loaded_when_asked_for_and_the_oldest_makes_room(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(c: Circle) -> None:
        await give_their_own(c)
        async with deploy(c, most=2):
            await c.serves(BASE)
            await asyncio.sleep(4 * QUICK.interval)
            assert c.engine.resident() == {BASE}  # none was asked for
            assert answer(c, "acme") == BASE
            await c.until(lambda: answer(c, "acme") == A)
            assert answer(c, "bolt") == BASE
            await c.until(lambda: answer(c, "bolt") == B)
            with c.router.pin("m", None, tenant="acme") as held:
                assert held.checkpoint == A
                await c.until(lambda: answer(c, "bolt") == B)
                assert answer(c, "cord") == BASE
                # acme was asked for longest ago, but its last answer has not ended.
                await c.until(lambda: c.router.ready(A) is False)
                await asyncio.sleep(4 * QUICK.interval)
                assert c.engine.resident() == {BASE, A, B}
                assert answer(c, "cord") == BASE
            await c.until(lambda: answer(c, "cord") == C)
            assert c.engine.resident() == {BASE, B, C}
            assert c.engine.unloaded == [A]
            assert answer(c, None) == answer(c, "somebody else") == BASE

    run(database_dsn, tmp_path, test)


def test_a_tenant_that_is_retired_is_answered_as_all_are(database_dsn: str, tmp_path: Path) -> None:
    async def test(c: Circle) -> None:
        await give_their_own(c)
        async with deploy(c):
            await c.serves(BASE)
            answer(c, "acme")
            await c.until(lambda: answer(c, "acme") == A)
            async with c.pool.connection() as conn:
                await branches.retire(conn, "acme", "gone")
            await c.until(lambda: answer(c, "acme") == BASE and A not in c.engine.resident())

    run(database_dsn, tmp_path, test)


def test_without_the_setting_nothing_of_a_tenant_is_served_or_loaded(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(c: Circle) -> None:
        await give_their_own(c)
        async with deploy(c, per_tenant=False):
            await c.serves(BASE)
            assert answer(c, "acme") == BASE
            await asyncio.sleep(4 * QUICK.interval)
            assert c.engine.resident() == {BASE}
            assert c.router.branches() == ()

    run(database_dsn, tmp_path, test)
