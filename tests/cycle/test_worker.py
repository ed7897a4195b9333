from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import msgspec
import psycopg
import pytest
from tests.record.rows import make_feedback, make_generation

from liveweights.config import Config
from liveweights.cycle import learning, ledger, trying
from liveweights.cycle import steps as steps_module
from liveweights.cycle import worker as worker_module
from liveweights.cycle.pace import Pace
from liveweights.cycle.restarting import work_folder
from liveweights.cycle.settings import CycleSettings
from liveweights.cycle.trial import Trial, note_trial, read_trial
from liveweights.cycle.updating import LearnerFailed
from liveweights.holder import Held, Holder
from liveweights.learn.job import RESULT, Job, Report, Result, read_job
from liveweights.learn.settings import LearnSettings
from liveweights.model_table import ModelTable
from liveweights.record.batch import prepare, store
from liveweights.record.binary import encode
from liveweights.release import aliases, canaries, moves
from liveweights.release.settings import RetentionSettings, SigningSettings
from liveweights.store.database import Pool, open_pool
from liveweights.terms.criteria import Candidate
from liveweights.terms.current import Terms
from liveweights.terms.facts import unknown_facts
from liveweights.terms.rules import Conditions, Rule
from liveweights.weights.registry import Registry
from liveweights.weights.signing import check, make_keys

from .crash import pretend_to_learn
from .product import BASE, GOOD, Habit, Product


def on_product(
    dsn: str, home: Path, test: Callable[[Product], Awaitable[None]], config: Config | None = None
) -> None:
    async def go() -> None:
        pool = await open_pool(dsn)
        try:
            product = Product(pool, config or Config(), home, {BASE: Habit(), GOOD: Habit()})
            await product.fill()
            await test(product)
        finally:
            await pool.close()

    asyncio.run(go())


@pytest.fixture
def same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every update comes to the same adapter."""

    async def learn(folder: Path) -> None:
        one = folder.with_name("1")
        one.mkdir(exist_ok=True)
        if one != folder:
            (one / "job.json").write_bytes((folder / "job.json").read_bytes())
        pretend_to_learn(one)
        if one != folder:
            for path in one.iterdir():
                path.rename(folder / path.name)

    monkeypatch.setattr(learning, "run_learner", learn)


async def turn_until(product: Product, state: str) -> ledger.Cycle:
    worker = product.worker()
    for _ in range(6):
        cycle = await worker.turn(now=True)
        assert cycle is not None
        if cycle.state == state:
            return cycle
    raise AssertionError(state)


def test_a_cycle_whose_incumbent_was_taken_back_ends(database_dsn: str, tmp_path: Path) -> None:
    async def test(product: Product) -> None:
        async with product.pool.connection() as conn:
            await moves.promote(conn, "code", GOOD, reason="r")
            cycle = await ledger.begin(conn, "code", {})
            assert cycle.incumbent == GOOD
            await moves.rollback(conn, "code", reason="bad")
        ended = await product.worker().turn()
        assert ended is not None
        assert (ended.id, ended.outcome) == (cycle.id, "rejected")
        assert f"{BASE} is live now, not {GOOD}" in (ended.reason or "")

    on_product(database_dsn, tmp_path, test)


def test_nothing_is_counted_while_a_cycle_may_not_begin_or_right_after_a_long_count(
    database_dsn: str, tmp_path: Path
) -> None:
    time = [0.0]

    async def test(product: Product) -> None:
        async with product.pool.connection() as conn:
            cycle = await ledger.begin(conn, "code", {})
            await ledger.advance(conn, cycle, "ended", outcome="no_signal")
        worker = product.worker()
        worker.pace = Pace(lambda: time[0])

        async def turn() -> None:
            async with product.pool.connection() as conn:
                await conn.execute("set lock_timeout = '200ms'")
                assert await worker._begin(conn, False, None) is None  # pyright: ignore

        async with product.pool.connection() as holding:
            # Whoever counts waits.
            await holding.execute("lock table feedback_keys in access exclusive mode")
            await turn()  # it rests
            async with product.pool.connection() as conn:
                await conn.execute("update cycles set ended_at = ended_at - interval '1 day'")
            with worker.pace.asking():
                time[0] += 10
            time[0] += 100
            await turn()
            time[0] += 100
            with pytest.raises(psycopg.errors.LockNotAvailable):
                await turn()

    on_product(database_dsn, tmp_path, test)


@pytest.mark.usefixtures("same_weights")
def test_weights_that_did_harm_are_not_tried_again(database_dsn: str, tmp_path: Path) -> None:
    async def test(product: Product) -> None:
        await product.use(20)
        first = await turn_until(product, "warming")
        assert first.candidate is not None
        async with product.pool.connection() as conn:
            await canaries.start_canary(conn, "code", first.candidate, 0.1, reason="r")
            await canaries.abort_canary(conn, "code", reason="slow", evidence={"proven": True})
            await ledger.advance(conn, first, "ended", outcome="rolled_back", reason="slow")
        again = await turn_until(product, "ended")
        assert (again.outcome, again.candidate) == ("rejected", first.candidate)
        assert again.reason == "the same weights were taken back before: slow"

    on_product(database_dsn, tmp_path, test)


@pytest.mark.parametrize("fails", [False, True])
def test_what_users_wrote_is_in_a_file_only_while_the_update_runs(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    seen: list[bytes] = []

    async def learn(folder: Path) -> None:
        seen.append((folder / "job.json").read_bytes())
        if fails:
            raise LearnerFailed("no memory")
        pretend_to_learn(folder)

    monkeypatch.setattr(learning, "run_learner", learn)

    async def test(product: Product) -> None:
        await product.use(20)
        await turn_until(product, "ended" if fails else "warming")

    on_product(database_dsn, tmp_path, test)
    (job,) = seen
    assert b"return total" in job
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"return total" not in file.read_bytes(), file


@pytest.mark.usefixtures("same_weights")
def test_candidates_are_signed_where_there_is_a_key(database_dsn: str, tmp_path: Path) -> None:
    pytest.importorskip("model_signing", reason="pip install 'liveweights[signing]'")
    public = make_keys(tmp_path / "key")
    config = Config(
        signing=SigningSettings(key=str(tmp_path / "key")),
        retention=RetentionSettings(free_gb=0.0),
    )

    async def test(product: Product) -> None:
        await product.use(20)
        cycle = await turn_until(product, "warming")
        assert cycle.candidate is not None
        check(Registry(tmp_path / "checkpoints").load(cycle.candidate), public)

    on_product(database_dsn, tmp_path, test, msgspec.structs.replace(config))


def test_a_second_worker_of_another_home_is_told_whose_the_cycles_are(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(product: Product) -> None:
        first = Holder.me("home-1")
        second = Holder(pid=7, host="elsewhere", since="now", home="home-2")
        one, two = product.worker(), product.worker()
        one.owner, two.owner = first.encode(), second.encode()
        await one.turn()
        assert await two.turn() is None  # it may have been killed: its lease tells
        assert await two.turn() is None
        await one.turn()
        with pytest.raises(Held) as refused:
            await two.turn()
        assert f"The cycles of 'code' on this database are another worker's ({first})" in str(
            refused.value
        )
        assert "liveweights serve" in str(refused.value)

    on_product(database_dsn, tmp_path, test)


def test_a_worker_that_is_started_again_waits_for_its_lease(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(product: Product) -> None:
        old, new = product.worker(), product.worker()
        old.owner = Holder(pid=7, host="elsewhere", since="now", home="home-1").encode()
        new.owner = Holder.me("home-1").encode()
        for _ in range(3):  # also while the old one, told to end, still finishes
            await old.turn()
            assert await new.turn() is None
        await old.close()
        async with product.pool.connection() as conn:
            assert await ledger.read_lease(conn, ledger.lease_of("code")) is None
        await new.turn()
        async with product.pool.connection() as conn:
            lease = await ledger.read_lease(conn, ledger.lease_of("code"))
        assert lease is not None
        assert lease[0] == new.owner

    on_product(database_dsn, tmp_path, test)


def test_a_worker_of_the_same_home_that_was_killed_is_not_waited_for(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(product: Product) -> None:
        ended = await asyncio.create_subprocess_exec("true")
        await ended.wait()
        dead = msgspec.structs.replace(Holder.me("home-1"), pid=ended.pid)
        async with product.pool.connection() as conn:
            assert await ledger.take_lease(conn, ledger.lease_of("code"), dead.encode(), 1e6)
        other, new = product.worker(), product.worker()
        other.owner = Holder.me("home-2").encode()
        new.owner = Holder.me("home-1").encode()
        for worker, owner in ((other, dead.encode()), (new, new.owner)):
            await worker.turn()
            async with product.pool.connection() as conn:
                lease = await ledger.read_lease(conn, ledger.lease_of("code"))
            assert lease is not None
            assert lease[0] == owner

    on_product(database_dsn, tmp_path, test)


def test_a_database_that_only_reads_is_waited_for(
    database_dsn: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """As after a failover, or where a provider's disk is full."""

    async def only_read(pool: Pool, value: str) -> None:
        async with pool.connection() as conn:
            await conn.execute(f"set default_transaction_read_only = {value}".encode())

    async def test(product: Product) -> None:
        pool = await open_pool(database_dsn, max_size=1)
        worker = product.worker()
        worker.pool = pool
        await only_read(pool, "on")
        running = asyncio.create_task(worker.run())
        async with asyncio.timeout(60):
            while "read-only transaction" not in caplog.text:
                await asyncio.sleep(0.02)
            await only_read(pool, "off")
            lease = None
            while lease is None:
                async with product.pool.connection() as conn:
                    lease = await ledger.read_lease(conn, ledger.lease_of("code"))
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await pool.close()

    on_product(database_dsn, tmp_path, test, Config(cycle=CycleSettings(poll=0.05)))


@pytest.mark.usefixtures("same_weights")
def test_a_trial_that_is_restarted_tries_the_same_candidate_again(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(product: Product) -> None:
        note = note_trial(Trial(needs="no harm", reason="somebody was forgotten"))
        async with product.pool.connection() as conn:
            first = await ledger.begin_trial(conn, "code", GOOD, note)
            await ledger.restart(conn, [first.id], "another one was forgotten, too")
        await product.worker().turn()
        async with product.pool.connection() as conn:
            second = (await ledger.recent(conn, "code", 1))[0]
            assert second.id != first.id
            assert (second.candidate, read_trial(second)) == (GOOD, read_trial(first))
            await ledger.restart(conn, [second.id], "and another")
            await moves.promote(conn, "code", GOOD, reason="by hand")
        await product.use(20)
        cycle = await product.worker().turn()
        assert cycle is not None
        assert (cycle.incumbent, read_trial(cycle)) == (GOOD, None)

    on_product(database_dsn, tmp_path, test)


def test_what_an_earlier_cycle_left_is_removed_though_another_has_begun(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(product: Product) -> None:
        async with product.pool.connection() as conn:
            first = await ledger.begin(conn, "code", {})
            await ledger.restart(conn, [first.id], "somebody was forgotten")
            second = await ledger.begin(conn, "code", {})
        (left := work_folder(tmp_path, first.id)).mkdir(parents=True)
        async with product.pool.connection() as conn:
            await ledger.advance(conn, second, "ended", outcome="no_signal")
        await product.worker().turn()
        assert not left.exists()

    on_product(database_dsn, tmp_path, test)


def test_whatever_an_update_says_as_it_ends_is_kept_as_text(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def learn(folder: Path) -> None:
        raise LearnerFailed("no \0 memory \udcff")

    monkeypatch.setattr(learning, "run_learner", learn)

    async def test(product: Product) -> None:
        await product.use(20)
        cycle = await turn_until(product, "ended")
        assert (cycle.outcome, cycle.reason) == ("failed", "no \ufffd memory \ufffd")

    on_product(database_dsn, tmp_path, test)


def test_a_worker_that_is_told_to_end_does_though_a_step_did_not_hear_it(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deaf: list[int] = []
    taken = asyncio.Event()

    async def take(self: steps_module.Steps, cycle: ledger.Cycle) -> ledger.Cycle:
        while True:
            try:
                taken.set()
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                deaf.append(cycle.id)
                if len(deaf) == 3:
                    raise

    monkeypatch.setattr(steps_module.Steps, "take", take)

    async def test(product: Product) -> None:
        await product.use(12)
        async with product.pool.connection() as conn:
            await ledger.begin(conn, "code", {})
        working = asyncio.create_task(product.worker().run())
        await taken.wait()
        working.cancel()
        async with asyncio.timeout(30):
            with contextlib.suppress(asyncio.CancelledError):
                await working
        assert len(deaf) == 3

    config = msgspec.convert({"cycle": {"poll": 0.02}}, Config)
    on_product(database_dsn, tmp_path, test, config)


def test_a_worker_that_is_told_to_end_while_a_step_is_broken_off_does(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody cancels the cycle just before: whose cancellation that was is told apart."""
    taken, breaks_off = asyncio.Event(), asyncio.Event()

    async def take(self: steps_module.Steps, cycle: ledger.Cycle) -> ledger.Cycle:
        try:
            taken.set()
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            breaks_off.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(0.5)
            raise
        raise AssertionError

    monkeypatch.setattr(steps_module.Steps, "take", take)

    async def test(product: Product) -> None:
        async with product.pool.connection() as conn:
            await ledger.begin(conn, "code", {})
        working = asyncio.create_task(product.worker().run())
        await taken.wait()
        async with product.pool.connection() as conn:
            await ledger.cancel(conn, "code", "tickets")
        await breaks_off.wait()
        working.cancel()
        await asyncio.wait({working}, timeout=30)
        assert working.cancelled()

    config = msgspec.convert({"cycle": {"poll": 0.2}}, Config)
    on_product(database_dsn, tmp_path, test, config)


TAUGHT = Config(
    models={
        "code": ModelTable(learn_from="big"),
        "big": ModelTable(upstream="http://a.example"),
    }
)


async def answer_elsewhere(product: Product) -> None:
    """The hosted model answers, and users take it."""
    names = [f"big{number}" for number in range(8)]
    rows = [
        make_generation(name, alias="big", output="theirs", user=name, prompt='{"prompt": "a"}')
        for name in names
    ]
    async with product.pool.connection() as conn:
        await prepare(conn)
        await store(conn, [encode(row) for row in rows], [make_feedback(n, n) for n in names])


def test_a_model_learns_from_what_a_hosted_one_answered(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Job] = []

    async def learn(folder: Path) -> None:
        seen.append(read_job(folder / "job.json"))
        pretend_to_learn(folder)

    monkeypatch.setattr(learning, "run_learner", learn)

    async def test(product: Product) -> None:
        await answer_elsewhere(product)
        async with product.pool.connection() as conn:
            some = partial(ledger.read_news, conn, "code", follow_ups=False)
            assert (await some("big", most=9)).judged == 8
            assert (await some(most=9)).judged == 0
        learnt = await turn_until(product, "calibrating")
        assert learnt.candidate is not None
        card = Registry(tmp_path / "checkpoints").load(learnt.candidate).folder / "card.json"
        assert "from answers of big that users took" in card.read_text()

    on_product(database_dsn, tmp_path, test, TAUGHT)
    (job,) = seen
    assert 0 < len(job.train) <= 8
    assert job.held_back == []
    assert {one.feedback[0].text for one in job.train} == {"theirs"}
    assert all(one.generation.withheld and not one.generation.output_ids for one in job.train)


def test_what_may_not_be_learnt_from_stays_unread(database_dsn: str, tmp_path: Path) -> None:
    ban = Rule(
        name="no-copies",
        when=("learn",),
        on=Conditions(learner=("another",)),
        then="deny",
        reason="they forbid it",
    )

    async def test(product: Product) -> None:
        await answer_elsewhere(product)
        models = [Candidate(facts=unknown_facts(name)) for name in ("code", "big")]
        worker = product.worker()
        worker.steps.shop.terms = Terms(models, [ban])
        ended = await worker.turn(now=True)
        assert ended is not None
        assert (ended.outcome, ended.reason) == (
            "no_signal",
            "no unread feedback that may be learnt from; no-copies does not allow it of big: they "
            "forbid it",
        )
        async with product.pool.connection() as conn:
            cursor = await conn.execute("select model, action, tenant, rule from terms_denials")
            assert await cursor.fetchall() == [("big", "learn", "default", "no-copies")]

    on_product(database_dsn, tmp_path, test, TAUGHT)


@pytest.mark.parametrize("error", [ValueError, KeyError, AttributeError, TypeError, RuntimeError])
@pytest.mark.usefixtures("same_weights")
def test_a_cycle_that_fails_leaves_no_canary_to_users(
    database_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Exception],
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def fail(*_: object) -> ledger.Cycle:
        raise error("what nobody foresaw")

    async def test(product: Product) -> None:
        await product.use(20)
        cycle = await turn_until(product, "warming")
        assert cycle.candidate is not None
        async with product.pool.connection() as conn:
            await canaries.start_canary(conn, "code", cycle.candidate, 0.1, reason="r")
            for state in ("gating", "canary"):
                cycle = await ledger.advance(conn, cycle, state)
        monkeypatch.setattr(trying.Trying, "look", fail)
        ended = await product.worker().turn()
        assert ended is not None
        assert (ended.state, ended.outcome) == ("ended", "failed")
        assert ended.reason is not None
        assert ended.reason.startswith(f"{error.__name__}: ")
        assert any(record.exc_info for record in caplog.records)
        async with product.pool.connection() as conn:
            assert (await aliases.read(conn, "code")).canary is None
            await canaries.start_canary(conn, "code", GOOD, 0.1, reason="the next one may begin")

    on_product(database_dsn, tmp_path, test)


@pytest.mark.usefixtures("same_weights")
def test_a_canary_is_taken_back_with_its_cycle_or_not_at_all(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the cycle would be said to have been taken back by hand."""

    async def fail(*_: object) -> ledger.Cycle:
        raise ValueError("what nobody foresaw")

    async def away(*_: object, **__: object) -> ledger.Cycle:
        raise psycopg.OperationalError("the database is away")

    async def test(product: Product) -> None:
        await product.use(20)
        cycle = await turn_until(product, "warming")
        assert cycle.candidate is not None
        async with product.pool.connection() as conn:
            await canaries.start_canary(conn, "code", cycle.candidate, 0.1, reason="r")
            for state in ("gating", "canary"):
                cycle = await ledger.advance(conn, cycle, state)
        monkeypatch.setattr(trying.Trying, "look", fail)
        with monkeypatch.context() as patch:
            patch.setattr(ledger, "advance", away)
            with pytest.raises(psycopg.OperationalError):
                await product.worker().turn()
        async with product.pool.connection() as conn:
            assert (await aliases.read(conn, "code")).canary == cycle.candidate
        ended = await product.worker().turn()
        assert ended is not None
        assert ended.outcome == "failed"

    on_product(database_dsn, tmp_path, test)


@pytest.mark.parametrize(("taught", "outcome"), [(0, "no_signal"), (1, "rejected")])
def test_votes_are_left_out_also_where_nothing_comes_of_the_cycle(
    database_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    taught: int,
    outcome: str,
) -> None:
    """What it held back judges later candidates all the same."""
    out: list[str] = []

    async def learn(folder: Path) -> None:
        job = read_job(folder / "job.json")
        out.extend(one.generation.id for one in job.held_back[::2])
        result = Result(
            report=Report(signals={}, rows=1, taught=taught),
            held_back=[],
            left_out=out,
            broken="no finite log-probabilities",
            baseline_weight={},
            baseline_total={},
        )
        (folder / RESULT).write_bytes(msgspec.json.encode(result))

    monkeypatch.setattr(learning, "run_learner", learn)
    config = Config(learn=LearnSettings(held_back_share=0.5))

    async def test(product: Product) -> None:
        await product.use(10)
        worker = product.worker()
        await worker.turn(now=True)
        ended = await worker.turn()
        assert ended is not None
        assert (ended.outcome, len(out) > 0) == (outcome, True)
        async with product.pool.connection() as conn:
            cursor = await conn.execute("select distinct generation from cycle_rows where left_out")
            assert {id for (id,) in await cursor.fetchall()} == {*out}

    on_product(database_dsn, tmp_path, test, config)


@pytest.mark.usefixtures("same_weights")
def test_a_cycle_has_ended_whatever_tidying_up_meets(
    database_dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def prune(*_: object) -> list[object]:
        raise KeyError("card")

    monkeypatch.setattr(worker_module, "prune", prune)

    async def test(product: Product) -> None:
        ended = await product.worker().turn(now=True)
        assert ended is not None
        assert (ended.state, ended.outcome) == ("ended", "no_signal")
        assert "nothing was pruned" in caplog.text

    on_product(database_dsn, tmp_path, test)


@pytest.mark.parametrize("passes", [True, False])
def test_a_full_disk_is_waited_for_and_a_file_that_is_gone_is_not(
    database_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passes: bool
) -> None:
    failures = [OSError(errno.ENOSPC, "No space left on device")] if passes else []

    async def learn(folder: Path) -> None:
        if failures:
            raise failures.pop()
        if not passes:
            raise FileNotFoundError("job.json")
        pretend_to_learn(folder)

    monkeypatch.setattr(learning, "run_learner", learn)
    monkeypatch.setattr(worker_module, "PAUSE", 0.0)

    async def test(product: Product) -> None:
        await product.use(20)
        async with product.pool.connection() as conn:
            cycle = await ledger.begin(conn, "code", {})
        running = asyncio.create_task(product.worker().run())
        wanted = {"warming", "gating", "canary"} if passes else {"ended"}
        async with asyncio.timeout(60):
            while True:
                async with product.pool.connection() as conn:
                    now = await ledger.get(conn, "code", cycle.id)
                if now.state in wanted:
                    break
                await asyncio.sleep(0.05)
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert (now.outcome, now.reason) == (
            (None, None) if passes else ("failed", "FileNotFoundError: job.json")
        )

    on_product(database_dsn, tmp_path, test, Config(cycle=CycleSettings(poll=0.05)))
