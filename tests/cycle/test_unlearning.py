"""After unlearning, weights are bit for bit those of a history in which the user never was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.cycle.history import LEARN, History, Speaker, Tiny, run_history

from liveweights.config import Config
from liveweights.cycle import ledger
from liveweights.cycle.forgetting import forget_user
from liveweights.cycle.settings import CycleSettings
from liveweights.cycle.trial import read_trial
from liveweights.cycle.unlearning import CannotUnlearn, Unlearnt, unlearn
from liveweights.learn.job import Job
from liveweights.release import aliases, moves
from liveweights.store.database import Also, Connection
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import get, register, register_parents

USERS = ("ada", "bob", "carl", "dora", "emil")
CONFIG = Config(cycle=CycleSettings(rest=0.0, min_feedback=1), learn=LEARN)
pytestmark = pytest.mark.usefixtures("jobs")


def speak(*users: str) -> list[Speaker]:
    return [Speaker(user, user, user) for user in users]


async def forget(history: History, user: str, also: Also | None = None) -> Unlearnt | None:
    async with await history.pool.getconn() as conn:
        done = await forget_user(
            conn,
            history.home,
            "default",
            user,
            archive=history.home / "a",
            is_embedded=False,
            also=also,
        )
        await conn.commit()
        settings, influenced = CONFIG.for_worker(), done.forgotten.checkpoints
        return await unlearn(conn, settings, history.home, influenced, also=also)


def test_weights_are_those_of_a_history_without_the_user(
    make_dsn: Callable[[], str], tmp_path: Path, tiny: Tiny
) -> None:
    def never_were(*gone: str) -> list[Checkpoint]:
        """What each window came to where these users never were."""
        made: list[Checkpoint] = []

        async def go(history: History) -> None:
            for window in (1, 2):
                await history.use(window, speak(*(user for user in USERS if user not in gone)))
                id = await history.turn()
                async with history.pool.connection() as conn:
                    made.append(await get(conn, id))

        run_history(make_dsn(), tmp_path / f"without-{len(gone)}", tiny, CONFIG, go)
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
            await history.use(window, speak(*USERS))
            before.append(await history.turn())
        for user, wanted in (("ada", without_ada), ("bob", without_both)):
            ids = [one.id for one in wanted]
            assert set(before).isdisjoint(ids)
            unlearnt = await forget(history, user)
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
            assert await forget(history, user) is None
            before = ids

    run_history(make_dsn(), tmp_path / "with", tiny, CONFIG, were)


def test_what_influenced_weights_said_is_not_what_the_new_ones_would(
    database_dsn: str, tmp_path: Path, tiny: Tiny, jobs: list[Job]
) -> None:
    """Their recorded log-probabilities are not those of the weights that a cycle is computed anew
    from: they are held to them as answers of another policy."""

    async def test(history: History) -> None:
        await history.use(1, speak(*USERS))
        first = await history.turn()
        await history.use(2, speak(*USERS), first)
        await history.turn()
        assert jobs[-1].incumbent == first
        unlearnt = await forget(history, "ada")
        assert unlearnt is not None
        assert [job.incumbent for job in jobs[-2:]] == [tiny.base.id, unlearnt.turns[0].now]
        assert unlearnt.turns[0].now != first
        assert {one.generation.checkpoint for one in jobs[-1].train} == {first}

    run_history(database_dsn, tmp_path, tiny, CONFIG, test)


def test_where_nothing_is_left_to_learn_from_the_weights_before_are_live_again(
    database_dsn: str, tmp_path: Path, tiny: Tiny
) -> None:
    async def test(history: History) -> None:
        await history.use(1, speak("ada"))
        learnt = await history.turn()
        told: list[str] = []

        async def also(conn: Connection) -> None:
            told.append((await aliases.read(conn, "code")).live)

        unlearnt = await forget(history, "ada", also)
        assert told == [learnt, learnt]
        assert unlearnt is not None
        assert (unlearnt.was, unlearnt.now, unlearnt.trial) == (learnt, tiny.base.id, None)
        assert [one.taught for one in unlearnt.turns] == [0]
        async with history.pool.connection() as conn:
            assert (await aliases.read(conn, "code")).live == tiny.base.id

    run_history(database_dsn, tmp_path, tiny, CONFIG, test)


def test_what_cannot_be_computed_anew_says_why(
    database_dsn: str, tmp_path: Path, tiny: Tiny
) -> None:
    async def test(history: History) -> None:
        await history.use(1, speak(*USERS))
        learnt = await history.turn()
        assert await forget(history, "nobody") is None
        async with history.pool.connection() as conn:
            await conn.execute("delete from generations where user_id = 'bob'")
        with pytest.raises(CannotUnlearn, match="cycle 1 learnt from answers that were archived"):
            await forget(history, "ada")
        async with history.pool.connection() as conn:
            whole = await get(conn, learnt)
            base = tiny.base.id
            merged = Checkpoint("tiny@00000000cafe", "adapter", whole.folder, base, base)
            await register(conn, merged, {})
            await register_parents(conn, merged.id, {learnt: 1.0, base: 1.0})
            await moves.promote(conn, "code", merged.id, reason="by hand")
        with pytest.raises(CannotUnlearn, match="tiny@00000000cafe was learnt in no cycle"):
            await forget(history, "ada")

    run_history(database_dsn, tmp_path, tiny, CONFIG, test)
