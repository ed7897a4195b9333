"""The workers of models that rows add."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import msgspec
import psycopg
import pytest
from tests.record.rows import make_feedback, make_generation

from liveweights.app import learners
from liveweights.app.learners import Learners, find_learners, read_elsewhere
from liveweights.app.place import Place
from liveweights.config import Config
from liveweights.cycle import ledger
from liveweights.cycle.bases import Standing
from liveweights.meter.tenants import Terms, create_tenant, remove_tenant
from liveweights.model_table import ModelTable
from liveweights.record.batch import prepare, store
from liveweights.record.binary import encode
from liveweights.release import aliases, branches, moves
from liveweights.release import models as rows
from liveweights.store.database import Pool, open_pool
from liveweights.terms.rules import Conditions, Rule
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import read_owners, register

BASE = "base@000000000000"
BARRED = Rule(
    name="not-yet", when=("load",), on=Conditions(model=("barred",)), then="deny", reason="so"
)
CONFIG = msgspec.structs.replace(
    msgspec.convert({"models": {"code": {"learn": False}}, "cycle": {"poll": 0.05}}, Config),
    terms=(BARRED,),
)
NAMES = ("more", "barred", "still")


def test_those_learn_that_are_local_and_are_to() -> None:
    tables = {
        "more": ModelTable(),
        "still": ModelTable(learn=False),
        "far": ModelTable(upstream="http://h"),
    }
    (name,) = find_learners(CONFIG, tables)
    assert name == "more"


def test_models_are_known_on_every_base_that_they_were_on_or_are_taken_to(tmp_path: Path) -> None:
    def named(*bases: Standing) -> dict[tuple[str, str], str]:
        stands = dict(zip(("code", "gone"), bases, strict=False))
        found = read_elsewhere(config, tmp_path, stands)
        return {key: facts.origins[0].name for key, facts in found.items()}

    config = Config(cache=str(tmp_path))
    called = {BASE: "Kimi-K2.5", "b@1": "gpt-oss-20b"}
    assert named(Standing("b@1", None, called)) == {("code", BASE): "moonshotai/Kimi-K2.5"}
    assert named(Standing(BASE, "b@1", called), Standing(BASE, "b@1", called)) == {
        ("code", "b@1"): "openai/gpt-oss-20b"
    }


def test_a_row_learns_while_it_is_there_and_the_terms_let_it_be_loaded(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learners, "LOOK", 0.05)

    async def held(pool: Pool) -> set[str]:
        async with pool.connection() as conn:
            return {name for name in NAMES if await ledger.read_lease(conn, ledger.lease_of(name))}

    async def until(what: Callable[[set[str]], bool], pool: Pool) -> None:
        async with asyncio.timeout(30):
            while not what(await held(pool)):
                await asyncio.sleep(0.02)

    async def go() -> None:
        pool = await open_pool(database_dsn)
        async with pool.connection() as conn:
            await register(conn, Checkpoint(BASE, "base", Path("/")), {})
            for name in NAMES:
                await aliases.create(conn, name, BASE)
            await rows.add(conn, "barred", {})
            await rows.add(conn, "still", {"learn": False})
            await rows.add(conn, "more", {"learn_from": "far"})
            await rows.add(conn, "far", {"upstream": "http://h"})
        place = Place(CONFIG, tmp_path, database_dsn)
        here = Learners(pool, place, url="http://127.0.0.1:9", owner="one", known={})
        running = asyncio.create_task(here.run())
        await until(lambda names: names == {"more"}, pool)
        async with pool.connection() as conn:
            await rows.remove(conn, "more")
        await until(lambda names: not names, pool)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await here.close()
        await pool.close()

    asyncio.run(go())


def test_a_tenant_that_has_said_enough_learns_until_it_is_removed(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learners, "LOOK", 0.05)
    monkeypatch.setattr(learners, "LOOK_FOR_TENANTS", 0.05)
    learn = {"per_tenant": True, "tenant_min_feedback": 2}
    config = msgspec.convert({"learn": learn, "cycle": {"poll": 0.05}}, Config)

    async def until(what: Callable[[set[str]], bool], pool: Pool) -> None:
        async with asyncio.timeout(30):
            while True:
                async with pool.connection() as conn:
                    cursor = await conn.execute("select name from leases where expires > now()")
                    if what({name for (name,) in await cursor.fetchall()}):
                        return
                await asyncio.sleep(0.02)

    async def say(pool: Pool, tenant: str, number: int) -> None:
        id = f"{tenant}-{number}"
        made = make_generation(id, alias="code", checkpoint=BASE, tenant=tenant)
        async with pool.connection() as conn:
            await prepare(conn)
            await store(conn, [encode(made)], [make_feedback(f"f-{id}", id, tenant=tenant)])

    async def go() -> None:
        pool = await open_pool(database_dsn)
        async with pool.connection() as conn:
            await register(conn, Checkpoint(BASE, "base", Path("/")), {})
            await aliases.create(conn, "code", BASE)
            await create_tenant(conn, "acme", Terms())
        place = Place(config, tmp_path, database_dsn)
        here = Learners(pool, place, url="http://127.0.0.1:9", owner="one", known={})
        running = asyncio.create_task(here.run())
        await say(pool, "acme", 1)
        await say(pool, "bolt", 1)
        await until(lambda names: names == {"cycle/code"}, pool)
        await say(pool, "acme", 2)
        await until(lambda names: names == {"cycle/code", "cycle/code:acme"}, pool)
        async with pool.connection() as conn:
            own = Checkpoint("code@00000000acee", "adapter", tmp_path, BASE, BASE)
            await register(conn, own, {"tenant": "acme"})
            await moves.promote(conn, "code:acme", own.id, reason="r")
            await remove_tenant(conn, "acme")
        async with asyncio.timeout(30):
            while True:
                async with pool.connection() as conn:
                    if (await aliases.read(conn, "code:acme")).live == BASE:
                        assert await read_owners(conn) == []
                        break
                await asyncio.sleep(0.02)
        # It has no worker any more, and gets none again.
        await until(lambda names: names == {"cycle/code"}, pool)
        assert "code:acme" not in here._of_tenants
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await here.close()
        await pool.close()

    asyncio.run(go())


def test_what_was_learnt_from_a_removed_tenant_is_marked_before_its_files_go(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever happens in the rest of the look: files that are gone have no rows that miss them."""

    async def away(*_: object, **__: object) -> None:
        raise psycopg.OperationalError("the database is away")

    monkeypatch.setattr(learners, "found_branches", away)
    learn = {"per_tenant": True, "tenant_min_feedback": 2}
    config = msgspec.convert({"learn": learn}, Config)

    async def go() -> None:
        pool = await open_pool(database_dsn)
        own = Checkpoint("code@00000000acee", "adapter", tmp_path / "own", BASE, BASE)
        own.folder.mkdir()
        async with pool.connection() as conn:
            await register(conn, Checkpoint(BASE, "base", Path("/")), {})
            await aliases.create(conn, "code", BASE)
            await create_tenant(conn, "acme", Terms())
            await branches.create_branch(conn, "code", "acme")
            await register(conn, own, {"tenant": "acme"})
            await moves.promote(conn, "code:acme", own.id, reason="r")
            await remove_tenant(conn, "acme")
        place = Place(config, tmp_path, database_dsn)
        here = Learners(pool, place, url="http://127.0.0.1:9", owner="one", known={})
        await here._look()
        async with pool.connection() as conn:
            assert await read_owners(conn) == []
            assert (await aliases.read(conn, "code:acme")).live == BASE
        await here.close()
        await pool.close()

    asyncio.run(go())


def test_a_branch_goes_by_what_its_model_was_set_to(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learners, "LOOK", 0.05)
    learn = {"per_tenant": True, "rank": 3}

    async def until_rank(here: Learners, rank: int) -> None:
        async with asyncio.timeout(60):
            while True:
                running = here._of_tenants.get("more:acme")
                if running is not None and running[0].settings.learn.rank == rank:
                    assert running[0].settings.tenant == "acme"
                    return
                await asyncio.sleep(0.02)

    async def go() -> None:
        pool = await open_pool(database_dsn)
        async with pool.connection() as conn:
            await register(conn, Checkpoint(BASE, "base", Path("/")), {})
            await aliases.create(conn, "more", BASE)
            await branches.create_branch(conn, "more", "acme")
            await rows.add(conn, "more", {"learn": learn})
        place = Place(CONFIG, tmp_path, database_dsn)
        here = Learners(pool, place, url="http://127.0.0.1:9", owner="one", known={})
        running = asyncio.create_task(here.run())
        await until_rank(here, 3)
        worker, task = here._of_tenants["more:acme"]
        async with pool.connection() as conn:
            await rows.change(conn, "more", {"learn": learn, "gate": {"cases": 5}})
        async with asyncio.timeout(60):
            while not task.done():
                await asyncio.sleep(0.02)
        async with pool.connection() as conn:
            await rows.change(conn, "more", {"learn": learn | {"rank": 4}})
        await until_rank(here, 4)
        assert here._of_tenants["more:acme"][0] is not worker
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await here.close()
        await pool.close()

    asyncio.run(go())
