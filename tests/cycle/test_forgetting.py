"""After ``forget`` nothing holds what the user said: neither a table, nor a file of the home, nor
the server's own files."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests import canary
from tests.record.rows import make_feedback, make_generation
from tests.record.test_rollups import timed_id

from liveweights.config import Config
from liveweights.cycle import forgetting, learning, ledger
from liveweights.cycle.forgetting import WORDS, Done, forget_user
from liveweights.cycle.ledger import LostLease
from liveweights.cycle.settings import CycleSettings
from liveweights.learn.job import Job
from liveweights.record import quarantine
from liveweights.record.archive import archive
from liveweights.record.batch import prepare, store
from liveweights.record.binary import encode
from liveweights.record.conversations import ConversationStore
from liveweights.record.feedback import Feedback
from liveweights.record.generation import Generation
from liveweights.record.refused import refused_generation
from liveweights.record.response import Conversation, StoredResponse
from liveweights.record.responses import ResponseStore
from liveweights.record.spill import Spill
from liveweights.release import aliases, canaries
from liveweights.release.settings import RetentionSettings
from liveweights.store.database import Connection
from liveweights.store.partitions import TABLES, ensure
from liveweights.weights.registry import NotRegistered, Registry, get

from .crash import pretend_to_learn
from .product import BASE, Habit, Product
from .test_worker import on_product

USER = f"user {canary.TEXT}"
CONFIG = Config(
    cycle=CycleSettings(poll=0.05, lease=1.5, rest=0.0, min_feedback=1),
    retention=RetentionSettings(free_gb=0.0),
)
OLD = datetime.now(UTC) - timedelta(days=9)


def say(number: int, at: datetime) -> tuple[Generation, list[Feedback]]:
    """An answer to the user, with the canary wherever a user's words are."""
    id = timed_id(at, number)
    made = make_generation(
        id,
        created_at=at,
        alias="code",
        checkpoint=BASE,
        prompt_ids=[1, *canary.IDS, number],
        output=f"{canary.TEXT} {number}",
        healed=canary.TEXT,
        reasoning=canary.TEXT,
        session=f"s {canary.TEXT}",
        user=USER,
        metadata={"file": canary.TEXT},
        prompt=f'"{canary.TEXT}"',
    )
    said = [
        make_feedback(f"{canary.TEXT}{number}{signal}", id, signal=signal, text=text)
        for signal, text in (("accepted", None), ("correction", canary.TEXT), ("comment", USER))
    ]
    return made, said


async def use(product: Product) -> None:
    """Others', and the user's: in the record, in an archived day, in a stored response, in a
    conversation, in quarantine, and waiting on disk."""
    await product.use(12)
    async with product.pool.connection() as conn:
        await prepare(conn)
        await ensure(conn, {OLD.date(), datetime.now(UTC).date()})
        for at, numbers in ((datetime.now(UTC), range(12)), (OLD, range(20, 23))):
            for number in numbers:
                made, said = say(number, at)
                await store(conn, [encode(made)], said, survived=[None] * len(said))
        await conn.commit()
        await archive(conn, OLD.date(), product.config.record.archive_folder(product.home))
        refused = encode(say(30, datetime.now(UTC))[0])
        await quarantine.keep(conn, refused_generation(refused, ValueError("no")))
    words = [{"role": "user", "content": canary.TEXT}]
    await ResponseStore(product.pool).add(
        StoredResponse(
            id="resp_1",
            tenant="default",
            user=USER,
            previous=None,
            created_at=datetime.now(UTC),
            input=words,
            body={"id": "resp_1", "output": words},
        )
    )
    talks = ConversationStore(product.pool)
    topic = {"topic": canary.TEXT}
    await talks.create(Conversation("conv_1", "default", datetime.now(UTC), topic), [])
    said = {"id": "msg_1", "type": "message", "content": canary.TEXT}
    await talks.add("default", "conv_1", [said], user=USER)
    spill = Spill(product.home / "spill" / "api")
    spill.append([encode(say(40, datetime.now(UTC))[0]), encode(make_generation("bobs", user="b"))])
    spill.close()


class Learner:
    """Updates: the first one does not end by itself."""

    def __init__(self, waits: bool) -> None:
        self.waits = waits
        self.jobs: list[Job] = []
        self.broken_off = 0

    async def learn(self, folder: Path) -> None:
        self.jobs.append(msgspec.json.decode((folder / "job.json").read_bytes(), type=Job))
        if self.waits and len(self.jobs) == 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                self.broken_off += 1
                raise
        pretend_to_learn(folder)


def users(job: Job) -> set[str | None]:
    return {example.generation.user for example in (*job.train, *job.held_back)}


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(120):
        while not await condition():
            await asyncio.sleep(0.02)


async def take_out(conn: Connection, product: Product, user: str) -> Done:
    archive = product.config.record.archive_folder(product.home)
    embedded = product.config.database_url() is None
    return await forget_user(
        conn, product.home, "default", user, archive=archive, is_embedded=embedded
    )


async def forget(product: Product) -> Done:
    async with await product.pool.getconn() as conn:
        return await take_out(conn, product, USER)


def assert_gone(dsn: str, home: Path) -> None:
    assert canary.find_rows(dsn) == []
    assert canary.find_files(home, canary.data_folder(dsn)) == []


def test_the_canary_is_found_where_it_is(database_dsn: str, tmp_path: Path) -> None:
    """Else its absence would say nothing."""
    on_product(database_dsn, tmp_path, use, CONFIG)
    rows = {name.rpartition(".")[2].rpartition("_2")[0] for name in canary.find_rows(database_dsn)}
    assert rows >= {"generations", "feedback"}
    kept = ("feedback_keys", "responses", "conversations", "conversation_items", "quarantine")
    for table in kept:
        assert f"public.{table}" in canary.find_rows(database_dsn)
    files = canary.find_files(tmp_path)
    assert {Path(file).suffix for file in files} == {".rows", ".parquet"}
    assert canary.find_files(canary.data_folder(database_dsn))


@pytest.mark.parametrize("state", ["learning", "warming", "canary"])
def test_an_open_cycle_ends_and_starts_again_without_the_user(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    """A worker is at it: with an update under way, a candidate, or one that users see."""
    learner = Learner(waits=state == "learning")
    monkeypatch.setattr(learning, "run_learner", learner.learn)

    async def test(product: Product) -> None:
        await use(product)
        product.habits["other"] = Habit()
        working = asyncio.create_task(product.worker().run())

        async def at(wanted: str, after: int = 0) -> bool:
            async with product.pool.connection() as conn:
                cycle = await ledger.current(conn, "code")
            return cycle is not None and cycle.id > after and cycle.state == wanted

        async def waits() -> bool:
            return bool(learner.jobs)

        await until(waits if state == "learning" else lambda: at("warming"))
        async with product.pool.connection() as conn:
            first = await ledger.current(conn, "code")
            assert first is not None
            if state == "canary":
                assert first.candidate is not None
                gating = await ledger.advance(conn, first, "gating")
                await canaries.start_canary(conn, "code", first.candidate, 0.5, reason="test")
                await ledger.advance(conn, gating, "canary")
        done = await forget(product)
        assert done.restarted == [first.id]
        assert done.left == []
        assert done.days == [OLD.date()]
        await until(lambda: at("warming", first.id))
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working
        async with product.pool.connection() as conn:
            ended = await ledger.get(conn, "code", first.id)
            assert (ended.state, ended.outcome) == ("ended", "restarted")
            alias = await aliases.read(conn, "code")
            assert (alias.live, alias.canary) == (BASE, None)
        before, after = learner.jobs
        assert USER in users(before)
        assert users(after) == users(before) - {USER}
        assert learner.broken_off == (state == "learning")

    on_product(database_dsn, tmp_path, test, CONFIG)
    assert_gone(database_dsn, tmp_path)
    if state == "learning":  # no checkpoint was made of the user's rows
        assert len(Registry(tmp_path / "checkpoints").checkpoints()) == 1


def test_what_was_stored_and_not_yet_registered_goes_too(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = Learner(waits=False)
    store, stored, goes_on = Registry.store, threading.Event(), threading.Event()

    def store_slowly(*args: Any, **how: Any) -> Any:
        made = store(*args, **how)
        stored.set()
        assert goes_on.wait(60)
        return made

    async def learn(folder: Path) -> None:
        if learner.jobs:  # of the cycle after
            await asyncio.Event().wait()
        await learner.learn(folder)

    monkeypatch.setattr(Registry, "store", store_slowly)
    monkeypatch.setattr(learning, "run_learner", learn)

    async def test(product: Product) -> None:
        await use(product)
        working = asyncio.create_task(product.worker().run())

        async def is_stored() -> bool:
            return stored.is_set()

        async def has_ended() -> bool:
            async with product.pool.connection() as conn:
                (last,) = await ledger.recent(conn, "code", 1)
            return last.outcome == "restarted"

        await until(is_stored)
        assert len(Registry(tmp_path / "checkpoints").checkpoints()) == 1
        forgetting = asyncio.create_task(forget(product))
        await until(has_ended)
        goes_on.set()
        done = await forgetting
        assert done.left == []
        assert Registry(tmp_path / "checkpoints").checkpoints() == []
        working.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await working

    on_product(database_dsn, tmp_path, test, CONFIG)


def test_what_ended_while_it_was_stored_is_not_registered(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker has not seen yet that the cycle was ended: its poll is long."""
    learner = Learner(waits=False)
    monkeypatch.setattr(learning, "run_learner", learner.learn)
    store, stored, goes_on = Registry.store, threading.Event(), threading.Event()

    def store_slowly(*args: Any, **how: Any) -> Any:
        made = store(*args, **how)
        stored.set()
        assert goes_on.wait(60)
        return made

    monkeypatch.setattr(Registry, "store", store_slowly)
    config = Config(cycle=CycleSettings(poll=600.0, lease=1.5, rest=0.0, min_feedback=1))

    async def test(product: Product) -> None:
        await product.use(12)
        worker = product.worker()
        assert (await worker.turn()) is not None
        turning = asyncio.create_task(worker.turn())
        assert await asyncio.to_thread(stored.wait, 60)
        async with product.pool.connection() as conn:
            (cycle,) = await ledger.recent(conn, "code", 1)
            await ledger.restart(conn, [cycle.id], "test")
        goes_on.set()
        with pytest.raises(LostLease):
            await turning
        async with product.pool.connection() as conn:
            (made,) = Registry(tmp_path / "checkpoints").checkpoints()
            with pytest.raises(NotRegistered):
                await get(conn, made)
            cursor = await conn.execute("select count(*) from warm")
            assert await cursor.fetchone() == (0,)

    on_product(database_dsn, tmp_path, test, config)


class Killed(BaseException):
    """As if the process had died: nothing may answer it."""


def test_without_a_worker_it_is_taken_back_here(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One was killed in the middle of an update: its job is there, and its lease runs out."""
    learner = Learner(waits=True)
    monkeypatch.setattr(learning, "run_learner", learner.learn)

    async def killed(folder: Path) -> None:
        (folder / "left.json").write_bytes((folder / "job.json").read_bytes())
        raise Killed

    async def test(product: Product) -> None:
        await use(product)
        monkeypatch.setattr(learning, "run_learner", killed)
        worker = product.worker()
        for _ in range(2):
            with contextlib.suppress(Killed):
                await worker.turn()
        assert canary.find_files(product.home / "cycles")
        done = await forget(product)
        assert len(done.restarted) == 1
        assert done.left == []
        assert not (product.home / "cycles" / str(done.restarted[0])).exists()

    on_product(database_dsn, tmp_path, test, CONFIG)
    assert_gone(database_dsn, tmp_path)


def test_asking_again_finishes_what_a_kill_left_in_files(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rows are gone by then, and with them what would say where else they were."""

    async def killed_at_work(folder: Path) -> None:
        (folder / "left.json").write_bytes((folder / "job.json").read_bytes())
        raise Killed

    async def killed(*arguments: object) -> list[str]:
        raise Killed

    async def test(product: Product) -> None:
        await use(product)
        monkeypatch.setattr(learning, "run_learner", killed_at_work)
        worker = product.worker()
        for _ in range(2):
            with contextlib.suppress(Killed):
                await worker.turn()
        (folder,) = (product.home / "cycles").iterdir()
        for step in ("_take_back", "remove_strays", "_erase"):
            with monkeypatch.context() as patch:
                patch.setattr(forgetting, step, killed)
                with pytest.raises(Killed):
                    await forget(product)
                assert folder.exists() == (step == "_take_back")
                folder.mkdir(exist_ok=True)
        done = await forget(product)
        assert (done.forgotten.generations, done.restarted) == (0, [int(folder.name)])
        assert done.left == []
        assert (await forget(product)).restarted == []
        assert not folder.exists()

    on_product(database_dsn, tmp_path, test, CONFIG)
    assert_gone(database_dsn, tmp_path)


def test_what_a_failed_update_said_goes_too(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(folder: Path) -> None:
        raise ValueError(f"cannot read {canary.TEXT}")

    monkeypatch.setattr(learning, "run_learner", fails)

    async def test(product: Product) -> None:
        await use(product)
        worker = product.worker()
        while True:
            cycle = await worker.turn()
            if cycle is not None and cycle.outcome == "failed":
                break
        assert canary.TEXT in (cycle.reason or "")
        killed = tmp_path / "unlearning" / "7" / "job.json"
        killed.parent.mkdir(parents=True)
        killed.write_text(canary.TEXT)
        assert (await forget(product)).restarted == []

    on_product(database_dsn, tmp_path, test, CONFIG)
    assert_gone(database_dsn, tmp_path)


def test_every_table_that_rows_go_from_is_rewritten(database_dsn: str, tmp_path: Path) -> None:
    """Else their bytes stay in the server's files; rollups have no words in them."""
    removed = (
        "select relname from pg_stat_xact_user_tables where n_tup_del > 0 and schemaname = 'public'"
    )

    async def test(product: Product) -> None:
        await use(product)

        async def look(conn: Connection) -> None:
            cursor = await conn.execute(removed)
            names.update([name for (name,) in await cursor.fetchall()])

        async with await product.pool.getconn() as conn:
            folder = product.config.record.archive_folder(product.home)
            await forget_user(
                conn, tmp_path, "default", USER, archive=folder, is_embedded=False, also=look
            )

    names: set[str] = set()
    on_product(database_dsn, tmp_path, test, CONFIG)
    dated = {name for name in names if name.startswith(tuple(f"{table}_2" for table in TABLES))}
    assert names >= {"conversations", "conversation_items", "responses", "quarantine"}
    assert dated
    assert {name for name in names - dated if "rollup" not in name} <= set(WORDS)


def test_who_is_not_known_is_forgotten_all_the_same(database_dsn: str, tmp_path: Path) -> None:
    async def test(product: Product) -> None:
        await use(product)
        async with await product.pool.getconn() as conn:
            done = await take_out(conn, product, "nobody")
        assert (done.forgotten.generations, done.restarted, done.days, done.left) == (0, [], [], [])

    on_product(database_dsn, tmp_path, test, CONFIG)
    assert canary.find_rows(database_dsn) != []
