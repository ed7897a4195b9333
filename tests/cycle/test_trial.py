"""A candidate that was brought is judged on what users said, and nothing is learnt from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from liveweights.config import Config
from liveweights.cycle import ledger, scoring
from liveweights.cycle.attempt import Attempt
from liveweights.cycle.held_back import read_suite
from liveweights.cycle.next_turn import read_next
from liveweights.cycle.settings import CycleSettings
from liveweights.cycle.trial import Trial, note_trial, read_trial
from liveweights.learn.job import RESULT, HeldBack, Job, Report, Result, read_job
from liveweights.learn.settings import LearnSettings
from liveweights.record.split import split_key, split_of
from liveweights.record.window import leave_out, read
from liveweights.release.alias import AliasError
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import Registry, register

from .product import BASE, GOOD, WEIGHTS, Product
from .test_worker import on_product

TRIAL = Trial(needs="better", reason="theirs")
CONFIG = Config(
    cycle=CycleSettings(rest=0.0, min_feedback=1), learn=LearnSettings(held_back_share=0.5)
)


SUITE: dict[str, Any] = {"rewards": CONFIG.rewards, "template": CONFIG.template}


async def bring(product: Product, base: str = BASE) -> Checkpoint:
    """A checkpoint with files, on that base, that nobody here has learnt."""
    folder = product.home / "theirs"
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(WEIGHTS)
    stored = Registry(product.home / "checkpoints").store(
        folder, "theirs", kind="adapter", base=base, parent=base, card={}
    )
    async with product.pool.connection() as conn:
        await register(conn, stored)
    return stored


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    """What a learner that scores at once was given."""
    jobs: list[Job] = []

    async def learn(folder: Path) -> None:
        jobs.append(read_job(folder / "job.json"))
        held = [
            HeldBack(
                generation=one.generation.id,
                session=one.generation.cluster,
                reward=0.0,
                candidate_answer=[-1.0],
                incumbent_answer=[-1.0],
                behaviour=[-1.0],
            )
            for one in jobs[-1].held_back
        ]
        result = Result(
            report=Report(signals={}), held_back=held, baseline_weight={}, baseline_total={}
        )
        (folder / RESULT).write_bytes(msgspec.json.encode(result))

    monkeypatch.setattr(scoring, "run_learner", learn)
    return jobs


def test_only_what_is_held_back_is_read(database_dsn: str, tmp_path: Path, jobs: list[Job]) -> None:
    async def test(product: Product) -> None:
        await product.use(20)
        theirs = await bring(product)
        async with product.pool.connection() as conn:
            begun = await ledger.begin_trial(conn, "code", theirs.id, note_trial(TRIAL))
            with pytest.raises(AliasError, match="is claiming"):
                await ledger.begin_trial(conn, "code", theirs.id, note_trial(TRIAL))
        assert read_trial(begun) == TRIAL
        worker = product.worker()
        turns = [await worker.turn() for _ in range(3)]
        assert [one.state for one in turns if one] == ["learning", "calibrating", "warming"]
        cycle = turns[-1]
        assert cycle is not None
        assert read_trial(cycle) == TRIAL
        (job,) = jobs
        assert job.train == []
        assert job.candidate is not None
        assert job.candidate.adapter == str(theirs.folder)
        assert not (product.home / "cycles" / str(cycle.id) / "job.json").exists()
        async with product.pool.connection() as conn:
            held_back = await read(conn, cycle.id, "held_back")
            assert {one.generation.id for one in job.held_back} == {
                one.generation.id for one in held_back
            }
            assert len(held_back) > 10
            assert await read(conn, cycle.id, "train") == []
            await ledger.advance(
                conn, cycle, "ended", outcome="rejected", verdict={"outcome": "FAIL"}
            )
            # How others' weights fared is nothing that the next cycle goes by.
            _, attempt = await read_next(conn, product.config.for_worker())
        assert attempt == Attempt()

    on_product(database_dsn, tmp_path, test, CONFIG)


def test_what_may_be_learnt_from_today_judges_no_more(
    database_dsn: str, tmp_path: Path, jobs: list[Job]
) -> None:
    async def test(product: Product) -> None:
        await product.use(30)
        theirs = await bring(product)
        async with product.pool.connection() as conn:
            cycle = await ledger.begin_trial(conn, "code", theirs.id, note_trial(TRIAL))
        await product.worker().turn()
        less = LearnSettings(held_back_share=0.2)
        product.config = msgspec.structs.replace(CONFIG, learn=less)
        await product.worker().turn()
        async with product.pool.connection() as conn:
            claimed = await read(conn, cycle.id, "held_back")
            cases = await read_suite(conn, "code", cycle.id, (BASE,), **SUITE, share=0.2)
        left = {
            one.generation.id
            for one in claimed
            if split_of(split_key("default", one.generation.session, None, ""), 0.2) == "held_back"
        }
        (job,) = jobs
        assert {one.generation.id for one in job.held_back} == left
        assert 0 < len(left) < len(claimed)
        assert {case.id for case in cases} < left

    on_product(database_dsn, tmp_path, test, CONFIG)


def test_what_was_left_out_is_no_case_of_the_suite(database_dsn: str, tmp_path: Path) -> None:
    async def test(product: Product) -> None:
        await product.use(30)
        cycle = await product.worker().turn(now=True)
        assert cycle is not None

        async def read_cases() -> set[str]:
            async with product.pool.connection() as conn:
                cases = await read_suite(conn, "code", cycle.id, (BASE,), **SUITE, share=0.5)
            return {case.id for case in cases}

        before = await read_cases()
        out = sorted(before)[::2]
        async with product.pool.connection() as conn:
            await leave_out(conn, cycle.id, out)
        assert await read_cases() == before - {*out}
        assert out

    on_product(database_dsn, tmp_path, test, CONFIG)


def test_weights_that_are_no_numbers_are_rejected(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    why = "the candidate's weights compute no finite log-probabilities"

    async def learn(folder: Path) -> None:
        result = Result(
            report=Report(signals={}, divergence=float("nan"), entropy=float("nan")),
            held_back=[],
            broken=why,
            baseline_weight={},
            baseline_total={},
        )
        (folder / RESULT).write_bytes(msgspec.json.encode(result))

    monkeypatch.setattr(scoring, "run_learner", learn)

    async def test(product: Product) -> None:
        await product.use(20)
        theirs = await bring(product)
        async with product.pool.connection() as conn:
            await ledger.begin_trial(conn, "code", theirs.id, note_trial(TRIAL))
        worker = product.worker()
        await worker.turn()
        ended = await worker.turn()
        assert ended is not None
        assert (ended.outcome, ended.reason) == ("rejected", why)

    on_product(database_dsn, tmp_path, test, CONFIG)


def test_without_anything_to_judge_by_it_ends(
    database_dsn: str, tmp_path: Path, jobs: list[Job]
) -> None:
    async def test(product: Product) -> None:
        theirs = await bring(product)
        async with product.pool.connection() as conn:
            await ledger.begin_trial(conn, "code", theirs.id, note_trial(TRIAL))
        worker = product.worker()
        await worker.turn()
        ended = await worker.turn()
        assert ended is not None
        assert (ended.state, ended.outcome) == ("ended", "no_signal")
        assert "no feedback was ever held back" in (ended.reason or "")

    on_product(database_dsn, tmp_path, test, CONFIG)
    assert jobs == []


def test_what_is_live_is_no_candidate(database_dsn: str, tmp_path: Path) -> None:
    async def test(product: Product) -> None:
        async with product.pool.connection() as conn:
            with pytest.raises(AliasError, match="is live on 'code' already"):
                await ledger.begin_trial(conn, "code", BASE, note_trial(TRIAL))
        async with product.pool.connection() as conn:
            assert await ledger.current(conn, "code") is None
            with pytest.raises(LookupError):
                await ledger.begin_trial(conn, "nobody", GOOD, note_trial(TRIAL))

    on_product(database_dsn, tmp_path, test)
