"""After unlearning, weights are bit for bit those of a history in which the user never was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import torch
from psycopg.conninfo import make_conninfo
from tests.record.rows import START, make_feedback, make_generation
from tests.record.test_window import HOUR
from tests.sharing.tiny import CPU, encode, make_base, read_logprobs

from liveweights.config import Config
from liveweights.cycle import learning, ledger, unlearning
from liveweights.cycle.forgetting import forget_user
from liveweights.cycle.settings import CycleSettings
from liveweights.cycle.trial import read_trial
from liveweights.cycle.unlearning import CannotUnlearn, Unlearnt, unlearn
from liveweights.cycle.worker import Worker
from liveweights.learn.job import read_job
from liveweights.learn.learner import learn
from liveweights.learn.settings import LearnSettings
from liveweights.learn.updaters.load import load_model
from liveweights.record.batch import prepare, store
from liveweights.record.binary import Row
from liveweights.record.binary import encode as encode_row
from liveweights.record.feedback import Feedback
from liveweights.release import aliases, moves
from liveweights.store.database import Pool, open_pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import get, register, register_parents

USERS = ("ada", "bob", "carl", "dora", "emil")
CONFIG = Config(
    cycle=CycleSettings(rest=0.0, min_feedback=1),
    learn=LearnSettings(
        device="cpu",
        dtype="float32",
        threads=1,
        rank=4,
        learning_rate=5e-3,
        kl_target=5.0,
        probes=2,
    ),
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def model(base: Checkpoint) -> Any:
    return load_model(base.folder, torch.float32, CPU)


@pytest.fixture(autouse=True)
def learn_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """The learner itself, in this process: starting one takes longer than the update."""

    async def run(folder: Path) -> None:
        await asyncio.to_thread(learn, read_job(folder / "job.json"), folder)

    monkeypatch.setattr(learning, "run_learner", run)
    monkeypatch.setattr(unlearning, "run_learner", run)


@dataclass
class History:
    """A service of some users, whose cycles are all promoted."""

    pool: Pool
    home: Path
    base: Checkpoint
    model: Any

    async def begin(self) -> None:
        async with self.pool.connection() as conn:
            await register(conn, self.base, {})
            await aliases.create(conn, "code", self.base.id)

    async def use(self, window: int, users: Sequence[str]) -> None:
        """Each user asks in three sessions, and says what they would have written."""
        generations: list[Row] = []
        said: list[Feedback] = []
        for user in users:
            for number in range(3):
                name = f"{user}-{window}-{number}"
                prompt, answer = encode(f"{name}="), encode(f"{user} {number}")
                logprobs = read_logprobs(self.model, [*prompt, *answer])
                served = [float(logprobs[len(prompt) - 1 + n, id]) for n, id in enumerate(answer)]
                at = START + window * HOUR
                made = make_generation(
                    name,
                    created_at=at,
                    alias="code",
                    checkpoint=self.base.id,
                    prompt_ids=prompt,
                    output_ids=answer,
                    logprobs=served,
                    raw_logprobs=served,
                    output=f"{user} {number}",
                    temperature=1.0,
                    user=user,
                    session=name,
                )
                generations.append(encode_row(made))
                signals: tuple[tuple[Any, str | None], ...] = (
                    ("accepted" if number else "rejected", None),
                    ("correction", f"{user} wrote {number}"),
                )
                said += [
                    make_feedback(f"{name}-{s}", name, signal=s, text=text, received_at=at + HOUR)
                    for s, text in signals
                ]
        async with self.pool.connection() as conn:
            await prepare(conn)
            await store(conn, generations, said)

    async def turn(self) -> str:
        """A cycle whose candidate is promoted; that."""
        worker = Worker(self.pool, CONFIG.for_worker(), self.home, "http://127.0.0.1:1")
        assert await worker.turn(now=True) is not None
        cycle = await worker.turn(now=True)
        assert cycle is not None
        assert cycle.state == "calibrating", cycle.reason
        assert cycle.candidate is not None
        async with self.pool.connection() as conn:
            await moves.promote(conn, "code", cycle.candidate, cycle=cycle.id, reason="r")
            await ledger.advance(conn, cycle, "ended", outcome="promoted")
        return cycle.candidate

    async def forget(self, user: str) -> Unlearnt | None:
        async with await self.pool.getconn() as conn:
            done = await forget_user(
                conn, self.home, "default", user, archive=self.home / "a", is_embedded=False
            )
            await conn.commit()
            settings = CONFIG.for_worker()
            return await unlearn(conn, settings, self.home, done.forgotten.checkpoints)


def run(
    dsn: str, home: Path, base: Checkpoint, model: Any, test: Callable[[History], Awaitable[None]]
) -> None:
    async def go() -> None:
        pool = await open_pool(dsn)
        try:
            history = History(pool, home, base, model)
            await history.begin()
            await test(history)
        finally:
            await pool.close()

    asyncio.run(go())


@pytest.fixture
def make_dsn(postgres: str, migrated_template: str) -> Iterator[Callable[[], str]]:
    """Makes one more fresh migrated database."""
    names: list[str] = []
    with psycopg.connect(postgres, autocommit=True) as conn:

        def make() -> str:
            names.append(f"unlearning_{len(names)}")
            conn.execute(f"create database {names[-1]} template {migrated_template}".encode())
            return make_conninfo(postgres, dbname=names[-1])

        try:
            yield make
        finally:
            for name in names:
                conn.execute(f"drop database {name} with (force)".encode())


def test_weights_are_those_of_a_history_without_the_user(
    make_dsn: Callable[[], str], tmp_path: Path, base: Checkpoint, model: Any
) -> None:
    def never_were(*gone: str) -> list[Checkpoint]:
        """What each window came to where these users never were."""
        made: list[Checkpoint] = []

        async def go(history: History) -> None:
            for window in (1, 2):
                await history.use(window, [user for user in USERS if user not in gone])
                id = await history.turn()
                async with history.pool.connection() as conn:
                    made.append(await get(conn, id))

        run(make_dsn(), tmp_path / f"without-{len(gone)}", base, model, go)
        return made

    without_ada, without_both = never_were("ada"), never_were("ada", "bob")

    async def promote(history: History, unlearnt: Unlearnt) -> None:
        """The gate sees no harm, nor does the canary."""
        async with history.pool.connection() as conn:
            trial = await ledger.current(conn, "code")
            assert trial is not None
            assert (trial.id, trial.candidate, trial.incumbent) == (
                unlearnt.trial,
                unlearnt.now,
                unlearnt.was,
            )
            told = read_trial(trial)
            assert told is not None
            assert told.needs == "no harm"
            await moves.promote(conn, "code", unlearnt.now, cycle=trial.id, reason="no harm")
            await ledger.advance(conn, trial, "ended", outcome="promoted")

    async def were(history: History) -> None:
        before: list[str] = []
        for window in (1, 2):
            await history.use(window, USERS)
            before.append(await history.turn())
        for user, wanted in (("ada", without_ada), ("bob", without_both)):
            ids = [one.id for one in wanted]
            assert set(before).isdisjoint(ids)
            unlearnt = await history.forget(user)
            assert unlearnt is not None
            assert (unlearnt.was, unlearnt.now) == (before[-1], ids[-1])
            assert [(one.was, one.now) for one in unlearnt.turns] == [
                *zip(before, ids, strict=True)
            ]
            assert all(one.taught and (one.distance or 0.0) > 0.0 for one in unlearnt.turns)
            for theirs in wanted:
                ours = history.home / "checkpoints" / theirs.id
                for name in ("adapter_model.safetensors", "adapter_config.json"):
                    assert (ours / name).read_bytes() == (theirs.folder / name).read_bytes()
            await promote(history, unlearnt)
            async with history.pool.connection() as conn:
                cycles = await ledger.recent(conn, "code")
            assert {one.candidate for one in cycles if not one.withdrawn} == {*ids}
            assert await history.forget(user) is None
            before = ids

    run(make_dsn(), tmp_path / "with", base, model, were)


def test_where_nothing_is_left_to_learn_from_the_weights_before_are_live_again(
    database_dsn: str, tmp_path: Path, base: Checkpoint, model: Any
) -> None:
    async def test(history: History) -> None:
        await history.use(1, ["ada"])
        learnt = await history.turn()
        unlearnt = await history.forget("ada")
        assert unlearnt is not None
        assert (unlearnt.was, unlearnt.now, unlearnt.trial) == (learnt, base.id, None)
        assert [one.taught for one in unlearnt.turns] == [0]
        async with history.pool.connection() as conn:
            assert (await aliases.read(conn, "code")).live == base.id

    run(database_dsn, tmp_path, base, model, test)


def test_what_cannot_be_computed_anew_says_why(
    database_dsn: str, tmp_path: Path, base: Checkpoint, model: Any
) -> None:
    async def test(history: History) -> None:
        await history.use(1, USERS)
        learnt = await history.turn()
        assert await history.forget("nobody") is None
        async with history.pool.connection() as conn:
            await conn.execute("delete from generations where user_id = 'bob'")
        with pytest.raises(CannotUnlearn, match="cycle 1 learnt from answers that were archived"):
            await history.forget("ada")
        async with history.pool.connection() as conn:
            whole = await get(conn, learnt)
            merged = Checkpoint("tiny@00000000cafe", "adapter", whole.folder, base.id, base.id)
            await register(conn, merged, {})
            await register_parents(conn, merged.id, {learnt: 1.0, base.id: 1.0})
            await moves.promote(conn, "code", merged.id, reason="by hand")
        with pytest.raises(CannotUnlearn, match="tiny@00000000cafe was learnt in no cycle"):
            await history.forget("ada")

    run(database_dsn, tmp_path, base, model, test)
