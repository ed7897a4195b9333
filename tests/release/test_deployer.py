from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.folders import make_folder
from tests.release.scripted import ScriptedEngine

from liveweights.release import aliases, canaries, moves
from liveweights.release.deployer import Deployer
from liveweights.release.deployments import keep_warm, let_go, ready
from liveweights.release.settings import DeploymentSettings
from liveweights.serve.memory.memory import Memory, Share
from liveweights.serve.router import NotReady, Router, UnknownModel
from liveweights.store.database import Pool, open_pool
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.store.migrate import migrate
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import register

BASE, A, B, C, D = (f"{name}@000000000000" for name in ("base", "a", "b", "c", "d"))
TOPS = {
    name: {token: -1.0 - 0.3 * number - token / 10 for token in range(10)}
    for number, name in enumerate((BASE, A, B, C, D))
}
QUICK = DeploymentSettings(interval=0.05, heartbeat=0.2, max_retry=0.1)


class Circle:
    """A database with a base and four adapters, an alias ``m`` on the base, and an engine."""

    def __init__(self, dsn: str, pool: Pool, engine: ScriptedEngine, folder: Path) -> None:
        self.dsn, self.pool, self.engine, self.folder = dsn, pool, engine, folder
        self.router = Router()

    def deployer(
        self,
        settings: DeploymentSettings = QUICK,
        name: str = "one",
        check: Callable[[Checkpoint], None] | None = None,
        share: Share | None = None,
    ) -> Deployer:
        return Deployer(
            self.pool,
            self.dsn,
            self.engine,
            self.router,
            instance=name,
            settings=settings,  # type: ignore[arg-type]
            check=check,
            cache=self.folder / "cache",
            share=share,
            expect=lambda checkpoint, base: 1,
        )

    def memory(self, room: int) -> Share:
        """For so many checkpoints."""
        memory = Memory(room, most_waiting=9, seconds=5.0, patience=0.0)
        return memory.share("m", lambda: len(self.engine.resident()))

    async def fill(self) -> None:
        async with self.pool.connection() as conn:
            await register(conn, Checkpoint(BASE, "base", self.folder), {})
            for name in (A, B, C, D):
                folder = self.folder / name
                folder.mkdir(exist_ok=True)
                top = [[token, value, TOPS[BASE][token]] for token, value in TOPS[name].items()]
                probes = {"probes": [{"prompt_ids": [1], "top": top}]}
                (folder / "probes.json").write_text(json.dumps(probes))
                await register(conn, Checkpoint(name, "adapter", folder, BASE, BASE), {})
            await aliases.create(conn, "m", BASE)

    def answers(self, session: str | None = None) -> str:
        with self.router.pin("m", session) as pin:
            return pin.checkpoint

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.01)

    async def serves(self, checkpoint: str) -> None:
        def serving() -> bool:
            try:
                return self.answers() == checkpoint
            except (UnknownModel, NotReady):
                return False

        await self.until(serving)

    async def promote(self, checkpoint: str) -> None:
        async with self.pool.connection() as conn:
            await moves.promote(conn, "m", checkpoint, reason="test")


@pytest.fixture
def circle(database_dsn: str, tmp_path: Path):
    def run(test: Callable[[Circle], Awaitable[None]]) -> None:
        async def go() -> None:
            pool = await open_pool(database_dsn)
            try:
                engine = ScriptedEngine({name: dict(top) for name, top in TOPS.items()})
                circle = Circle(database_dsn, pool, engine, tmp_path)
                await circle.fill()
                await test(circle)
            finally:
                await pool.close()

        asyncio.run(go())

    return run


def test_a_promotion_is_loaded_probed_routed_to_and_the_one_before_is_kept(circle) -> None:
    async def test(c: Circle) -> None:
        async with c.deployer() as deployer:
            await c.serves(BASE)
            c.engine.gate.clear()
            await c.promote(A)
            await c.until(lambda: deployer.states().get(A) == "loading")
            assert c.answers() == BASE  # until the new one is ready
            c.engine.gate.set()
            await c.serves(A)
            assert c.engine.bases[A] == BASE
            assert deployer.states() == {BASE: "ready", A: "ready"}
            async with c.pool.connection() as conn:
                await moves.rollback(conn, "m", reason="test")
            await c.serves(BASE)
            assert c.engine.loaded == [BASE, A]  # nothing had to be loaded for it
            await c.until(lambda: c.engine.unloaded == [A])

    circle(test)


def test_an_alias_change_is_noticed_without_waiting_for_the_next_look(circle) -> None:
    async def test(c: Circle) -> None:
        async with c.deployer(DeploymentSettings(interval=3600.0)):
            await c.serves(BASE)
            await c.promote(A)
            await c.serves(A)
            assert c.engine.loaded == [BASE, A]

    circle(test)


def test_sessions_reach_a_canary_only_when_it_is_ready(circle) -> None:
    async def test(c: Circle) -> None:
        async with c.deployer() as deployer:
            await c.serves(BASE)
            c.engine.gate.clear()
            async with c.pool.connection() as conn:
                await canaries.start_canary(conn, "m", A, 0.5, reason="test")
            await c.until(lambda: deployer.states().get(A) == "loading")
            sessions = [str(number) for number in range(64)]
            assert {c.answers(s) for s in sessions} == {BASE}
            c.engine.gate.set()
            await c.until(lambda: {c.answers(s) for s in sessions} == {BASE, A})
            async with c.pool.connection() as conn:
                await canaries.abort_canary(conn, "m", reason="test")
            await c.until(lambda: {c.answers(s) for s in sessions} == {BASE})
            await c.until(lambda: c.engine.resident() == {BASE})

    circle(test)


def test_a_failed_probe_never_answers_and_is_tried_again_only_when_asked_again(circle) -> None:
    async def test(c: Circle) -> None:
        c.engine.tops[A] = dict(TOPS[BASE])  # the adapter does nothing
        async with c.deployer() as deployer:
            await c.serves(BASE)
            await c.promote(A)
            await c.until(lambda: deployer.states().get(A) == "failed")
            await asyncio.sleep(0.3)  # several looks and heartbeats
            assert c.engine.loaded == [BASE, A]
            assert c.engine.resident() == {BASE}
            assert c.answers() == BASE
            assert "from the trainer" in deployer.failures()[A]
            async with c.pool.connection() as conn:
                where = await ready(conn, A)
                assert list(where.failed) == ["one"]
                assert "from the trainer" in where.failed["one"]
                assert not where.everywhere
                row = await conn.execute(
                    "select probe->>'error_to_trainer' from deployments where checkpoint = %s", (A,)
                )
                assert float((await row.fetchone() or ["nan"])[0]) == pytest.approx(0.3)
            c.engine.tops[A] = dict(TOPS[A])
            async with c.pool.connection() as conn:
                await keep_warm(conn, A, 60)
            await c.serves(A)

    circle(test)


def test_what_cannot_be_loaded_is_tried_again(circle) -> None:
    async def test(c: Circle) -> None:
        c.engine.failures[A] = 3
        async with c.deployer():
            await c.promote(A)
            await c.serves(A)
            assert c.engine.failures[A] == 0

    circle(test)


def test_a_checkpoint_that_the_engine_lost_is_loaded_again(circle) -> None:
    async def test(c: Circle) -> None:
        async with c.deployer():
            await c.serves(BASE)
            c.engine.crash(BASE)
            await c.until(lambda: c.engine.loaded == [BASE, BASE])
            await c.serves(BASE)
            assert c.engine.resident() == {BASE}

    circle(test)


def test_a_warm_checkpoint_answers_by_its_id_until_its_time_is_over(circle) -> None:
    async def test(c: Circle) -> None:
        async with c.deployer():
            async with c.pool.connection() as conn:
                assert not (await ready(conn, A)).everywhere
                await keep_warm(conn, A, 60)
            await c.until(lambda: c.router.ready(A))
            async with asyncio.timeout(60), c.pool.connection() as conn:
                await conn.set_autocommit(True)
                while not (await ready(conn, A)).everywhere:
                    await asyncio.sleep(0.01)
            with c.router.pin(A, None) as pin:
                assert pin.checkpoint == A
            async with c.pool.connection() as conn:
                await let_go(conn, A)
            await c.until(lambda: c.engine.resident() == {BASE})
            async with c.pool.connection() as conn:
                await keep_warm(conn, B, 60)
            await c.until(lambda: c.router.ready(B))
            async with c.pool.connection() as conn:
                await conn.execute("update warm set until = now()")
            await c.until(lambda: c.engine.resident() == {BASE})

    circle(test)


def test_a_request_in_flight_keeps_its_checkpoint_and_may_be_rolled_back_to(circle) -> None:
    async def test(c: Circle) -> None:
        async with c.deployer(DeploymentSettings(interval=0.05, keep_previous=0)) as deployer:
            await c.serves(BASE)
            with c.router.pin("m", None):
                await c.promote(A)
                await c.serves(A)
                await c.until(lambda: deployer.states()[BASE] == "draining")
                await asyncio.sleep(0.1)
                assert BASE in c.engine.resident()
                async with c.pool.connection() as conn:
                    await moves.rollback(conn, "m", reason="test")
                await c.serves(BASE)
                assert c.engine.loaded == [BASE, A]
                await c.promote(A)
                await c.until(lambda: deployer.states()[BASE] == "draining")
            await c.until(lambda: BASE not in c.engine.resident())

    circle(test)


def test_what_was_rolled_back_from_stops_answering_before_the_other_is_loaded(circle) -> None:
    async def test(c: Circle) -> None:
        settings = DeploymentSettings(interval=0.05, keep_previous=1)
        async with c.deployer(settings) as deployer:
            for name in (A, B, C):
                await c.promote(name)
                await c.serves(name)
            await c.until(lambda: set(deployer.states()) == {B, C})
            c.engine.gate.clear()  # A would take for ever to load
            async with c.pool.connection() as conn:
                await moves.rollback(conn, "m", A, reason="C is bad")
            await c.serves(B)
            await asyncio.sleep(0.2)
            assert c.answers() == B
            c.engine.gate.set()
            await c.serves(A)

    circle(test)


def test_after_a_start_with_a_broken_live_one_the_one_before_answers(circle) -> None:
    async def test(c: Circle) -> None:
        await c.promote(A)
        await c.promote(B)

        def check(checkpoint: Checkpoint) -> None:
            if checkpoint.id == B:
                raise ValueError("b/adapter_model.safetensors was changed")

        async with c.deployer(check=check) as deployer:
            await c.serves(A)
            assert "adapter_model.safetensors was changed" in deployer.failures()[B]
            assert B not in c.engine.loaded
            await asyncio.sleep(0.3)
            assert c.answers() == A

    circle(test)


def test_the_limit_holds_and_never_stands_in_the_way_of_a_live_one(circle) -> None:
    async def test(c: Circle) -> None:
        settings = DeploymentSettings(interval=0.05, max_resident=2, keep_previous=1)
        async with c.deployer(settings) as deployer:
            await c.serves(BASE)
            async with c.pool.connection() as conn:
                for name in (A, B, C):
                    await keep_warm(conn, name, 60)
            await c.until(lambda: len(c.engine.resident()) == 2)
            await asyncio.sleep(0.2)
            assert len(c.engine.resident()) == 2
            await c.promote(D)
            await c.serves(D)
            await c.until(lambda: len(deployer.states()) == 2)
            assert D in c.engine.resident()

    circle(test)


def test_a_restarted_instance_serves_what_the_database_says(circle) -> None:
    async def test(c: Circle) -> None:
        await c.promote(A)
        async with c.pool.connection() as conn:  # a row of the life before
            await conn.execute(
                "insert into deployments (instance, checkpoint, state) values ('one', %s, 'ready')",
                (C,),
            )
        async with c.deployer():
            await c.serves(A)
            async with asyncio.timeout(60), c.pool.connection() as conn:
                await conn.set_autocommit(True)
                while (await ready(conn, C)).ready or not (await ready(conn, A)).ready:
                    await asyncio.sleep(0.01)
        async with c.pool.connection() as conn:
            row = await (await conn.execute("select count(*) from deployments")).fetchone()
            assert row == (0,)

    circle(test)


def test_two_instances_are_both_waited_for(circle) -> None:
    async def test(c: Circle) -> None:
        other = Circle(c.dsn, c.pool, ScriptedEngine(dict(c.engine.tops)), c.folder)
        async with c.deployer(), other.deployer(name="two"):
            await c.serves(BASE)
            await other.serves(BASE)
            other.engine.gate.clear()
            async with c.pool.connection() as conn:
                await keep_warm(conn, A, 60)
            async with asyncio.timeout(60), c.pool.connection() as conn:
                await conn.set_autocommit(True)
                while not (where := await ready(conn, A)).ready:
                    await asyncio.sleep(0.01)
                assert where.waiting == {"two"}
                assert not where.everywhere
                other.engine.gate.set()
                while not (await ready(conn, A)).everywhere:
                    await asyncio.sleep(0.01)

    circle(test)


@pytest.mark.fault
def test_requests_go_on_while_postgres_is_away(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = make_folder()
    server = EmbeddedPostgres(folder / "postgres")

    async def go(dsn: str) -> None:
        pool = await open_pool(dsn)
        engine = ScriptedEngine({name: dict(top) for name, top in TOPS.items()})
        c = Circle(dsn, pool, engine, tmp_path_factory.mktemp("checkpoints"))
        await c.fill()
        async with c.deployer():
            await c.serves(BASE)
            await asyncio.to_thread(server.stop)
            for _ in range(20):
                assert c.answers() == BASE
                await asyncio.sleep(0.05)
            engine.crash(BASE)
            await asyncio.to_thread(server.start)
            await c.serves(BASE)
            await c.promote(A)
            await c.serves(A)
        await pool.close()

    try:
        dsn = server.start()
        migrate(dsn)
        asyncio.run(go(dsn))
    finally:
        server.destroy()
        shutil.rmtree(folder, ignore_errors=True)


def test_a_model_that_sleeps_is_known_and_loaded_when_it_is_asked_for(circle) -> None:
    async def test(c: Circle) -> None:
        share = c.memory(1)
        async with c.deployer(share=share) as deployer:
            await c.serves(BASE)
            share.sleep()
            await c.until(lambda: not deployer.states())
            assert c.engine.unloaded == [BASE]
            assert c.router.answers("m")
            with pytest.raises(NotReady):
                c.answers()
            async with share.use() as waited:
                assert waited > 0
                assert c.answers() == BASE
            # In flight: it takes no new requests, and is unloaded only then.
            with c.router.pin("m", None):
                async with share.use():
                    share.sleep()
                    await c.until(lambda: deployer.states() == {BASE: "draining"})
                    assert BASE in c.engine.resident()
            await c.until(lambda: not deployer.states())
        assert c.engine.loaded == [BASE, BASE]

    circle(test)


def test_a_canary_takes_memory_too_and_without_room_cannot_be_served(circle) -> None:
    async def test(c: Circle) -> None:
        for room, states in ((2, {BASE: "ready", A: "ready"}), (1, {BASE: "ready", A: "failed"})):
            share = c.memory(room)
            async with c.deployer(share=share) as deployer:
                async with share.use():
                    async with c.pool.connection() as conn:
                        await canaries.start_canary(conn, "m", A, 0.5, reason="test")
                    await c.until(lambda: deployer.states() == states)  # noqa: B023
                assert c.answers() in states
                if room == 1:
                    assert "needs" in deployer.failures()[A]
                async with c.pool.connection() as conn:
                    await canaries.abort_canary(conn, "m", reason="test")
            await c.engine.close()

    circle(test)


def test_what_the_gate_tries_is_loaded_and_stays(circle) -> None:
    async def test(c: Circle) -> None:
        share = c.memory(2)
        async with c.deployer(share=share) as deployer:
            await c.serves(BASE)
            share.sleep()
            await c.until(lambda: not deployer.states())
            async with c.pool.connection() as conn:
                await keep_warm(conn, A, 60.0)
            await c.until(lambda: deployer.states() == {BASE: "ready", A: "ready"})
            assert share.describe().kept
            async with c.pool.connection() as conn:
                await let_go(conn, A)
            await c.until(lambda: deployer.states() == {BASE: "ready"})
            assert not share.describe().kept

    circle(test)
