"""Cycles of tenants' own branches: what they learn is what it would be if nobody else ever was."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.cycle.test_unlearning import make_dsn  # noqa: F401
from tests.record.rows import START, make_feedback, make_generation
from tests.record.test_window import HOUR
from tests.sharing.tiny import CPU, encode, make_base, read_logprobs

from liveweights.config import Config
from liveweights.cycle import learning, ledger, live, unlearning
from liveweights.cycle.forgetting import forget_user
from liveweights.cycle.settings import CycleSettings
from liveweights.cycle.tenants import forget_tenant, found_branches
from liveweights.cycle.unlearning import unlearn
from liveweights.cycle.worker import Worker
from liveweights.learn.job import Job, read_job
from liveweights.learn.learner import learn
from liveweights.learn.settings import LearnSettings
from liveweights.learn.updaters.load import load_model
from liveweights.record.batch import prepare, store
from liveweights.record.binary import Row
from liveweights.record.binary import encode as encode_row
from liveweights.record.feedback import Feedback
from liveweights.release import aliases, ancestry, branches, canaries, moves
from liveweights.release.audience import count_audience, read_crowd
from liveweights.release.lineage import read_lineage
from liveweights.release.retention import remove_pruned
from liveweights.store.database import Pool, open_pool
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.registry import Registry, get, read_cards, read_owners, register

CONFIG = Config(
    cycle=CycleSettings(rest=0.0, min_feedback=1),
    learn=LearnSettings(
        per_tenant=True,
        tenant_min_feedback=4,
        device="cpu",
        dtype="float32",
        threads=1,
        rank=4,
        learning_rate=5e-3,
        kl_target=5.0,
        probes=2,
    ),
)
JOBS: list[Job] = []


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
        JOBS.append(read_job(folder / "job.json"))
        await asyncio.to_thread(learn, JOBS[-1], folder)

    monkeypatch.setattr(learning, "run_learner", run)
    monkeypatch.setattr(unlearning, "run_learner", run)
    JOBS.clear()


class Service:
    """A service of some tenants, whose cycles are all promoted."""

    def __init__(self, pool: Pool, home: Path, base: Checkpoint, model: Any) -> None:
        self.pool, self.home, self.base, self.model = pool, home, base, model

    async def use(self, window: int, tenants: Sequence[str], checkpoint: str | None = None) -> None:
        """Two users of each tenant ask in three sessions, and say what they would have written."""
        generations: list[Row] = []
        said: list[Feedback] = []
        for name, tenant, user, number in (
            (f"{t}-{u}-{window}-{n}", t, u, n) for t in tenants for u in ("ada", "bob")
            for n in range(3)
        ):  # fmt: skip
            prompt, answer = encode(f"{name}="), encode(f"{tenant} {number}")
            logprobs = read_logprobs(self.model, [*prompt, *answer])
            served = [float(logprobs[len(prompt) - 1 + n, id]) for n, id in enumerate(answer)]
            at = START + window * HOUR
            made = make_generation(
                name,
                created_at=at,
                alias="code",
                checkpoint=checkpoint or self.base.id,
                prompt_ids=prompt,
                output_ids=answer,
                logprobs=served,
                raw_logprobs=served,
                output=f"{tenant} {number}",
                temperature=1.0,
                user=user,
                tenant=tenant,
                session=name,
            )
            generations.append(encode_row(made))
            signals: tuple[tuple[Any, str | None], ...] = (
                ("accepted" if number else "rejected", None),
                ("correction", f"{tenant} wrote {number}"),
            )
            said += [
                make_feedback(
                    f"{name}-{signal}", name, signal=signal, text=text, tenant=tenant,
                    received_at=at + HOUR,
                )
                for signal, text in signals
            ]  # fmt: skip
        async with self.pool.connection() as conn:
            await prepare(conn)
            await store(conn, generations, said)

    async def turn(self, alias: str) -> str:
        """A cycle whose candidate is promoted; that."""
        worker = Worker(self.pool, CONFIG.for_worker(alias), self.home, "http://127.0.0.1:1")
        assert await worker.turn(now=True) is not None
        cycle = await worker.turn(now=True)
        assert cycle is not None
        assert cycle.state == "calibrating", cycle.reason
        assert cycle.candidate is not None
        async with self.pool.connection() as conn:
            await moves.promote(conn, alias, cycle.candidate, cycle=cycle.id, reason="r")
            await ledger.advance(conn, cycle, "ended", outcome="promoted")
        return cycle.candidate


def run(
    dsn: str, home: Path, base: Checkpoint, model: Any, test: Callable[[Service], Awaitable[None]]
) -> None:
    async def go() -> None:
        pool = await open_pool(dsn)
        try:
            async with pool.connection() as conn:
                await register(conn, base, {})
                await aliases.create(conn, "code", base.id)
            await test(Service(pool, home, base, model))
        finally:
            await pool.close()

    asyncio.run(go())


def test_what_a_tenant_learns_is_bit_for_bit_what_it_would_be_alone(
    make_dsn: Callable[[], str],  # noqa: F811
    tmp_path: Path,
    base: Checkpoint,
    model: Any,
) -> None:
    learnt: dict[bool, list[Path]] = {}

    async def go(service: Service, *, alone: bool) -> None:
        """Two cycles of acme, the second from what the first came to; in between, unless it is
        ``alone``, others speak, the shared checkpoint learns from all, and bolt for itself."""
        tenants = ["acme"] if alone else ["bolt", "acme", "cord"]
        made: list[str] = []
        async with service.pool.connection() as conn:
            await branches.create_branch(conn, "code", "acme")
        for window in (1, 2):
            await service.use(window, tenants)
            if not alone:
                await service.turn("code")
            made.append(await service.turn("code:acme"))
            if not alone and window == 1:
                async with service.pool.connection() as conn:
                    await branches.create_branch(conn, "code", "bolt")
                await service.turn("code:bolt")
        async with service.pool.connection() as conn:
            cards = await read_cards(conn, made)
            assert [cards[id].get("tenant") for id in made] == ["acme", "acme"]
            first, second = [await get(conn, id) for id in made]
            assert (first.parent, second.parent) == (base.id, first.id)
            assert [one.tenant for one in (await read_lineage(conn, second.id)).chain] == [
                "acme", "acme", None,
            ]  # fmt: skip
            cursor = await conn.execute(
                "select distinct c.alias, g.tenant"
                " from cycle_rows r join cycles c on c.id = r.cycle"
                " join generations g on g.id = r.generation where c.tenant is not null"
            )
            read = set(await cursor.fetchall())
            assert read == {("code:acme", "acme")} | (set() if alone else {("code:bolt", "bolt")})
        learnt[alone] = [first.folder, second.folder]

    for alone in (True, False):
        JOBS.clear()
        run(make_dsn(), tmp_path / str(alone), base, model, lambda s: go(s, alone=alone))  # noqa: B023
        ours = [job for job in JOBS if {e.generation.tenant for e in job.train} == {"acme"}]
        assert len(ours) == 2
        # The first does not go on from what all have learnt, but is compared with that.
        assert ours[0].parent is None
        assert (ours[0].rival is not None and ours[0].rival.adapter is not None) is not alone
        assert (ours[1].rival, ours[1].parent) == (None, str(learnt[alone][0]))
    for one, other in zip(learnt[True], learnt[False], strict=True):
        name = "adapter_model.safetensors"
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_branch_is_made_once_a_tenant_has_said_enough(
    database_dsn: str, tmp_path: Path, base: Checkpoint, model: Any
) -> None:
    async def test(service: Service) -> None:
        await service.use(1, ["acme", "bolt"])
        async with service.pool.connection() as conn:
            await conn.execute("update generations set consent = false where tenant = 'bolt'")
            assert await found_branches(conn, "code", 7) == []
            (made,) = await found_branches(conn, "code", 6)
            assert made.name == "code:acme"
            assert await found_branches(conn, "code", 6) == []
            assert await found_branches(conn, "never served", 1) == []
            await conn.execute("update generations set consent = true")
            await aliases.create(conn, "code:bolt", base.id)  # a model that is called so
            assert await found_branches(conn, "code", 6) == []
            assert (await aliases.read(conn, "code:bolt")).tenant is None

    run(database_dsn, tmp_path, base, model, test)


def test_a_canary_of_a_tenant_is_judged_by_that_tenants_answers(
    database_dsn: str, tmp_path: Path, base: Checkpoint, model: Any
) -> None:
    async def test(service: Service) -> None:
        await service.use(1, ["acme"])
        async with service.pool.connection() as conn:
            await branches.create_branch(conn, "code", "acme")
        own = await service.turn("code:acme")
        async with service.pool.connection() as conn:
            await branches.retire(conn, "acme", "start again")
            await canaries.start_canary(conn, "code:acme", own, 0.5, reason="r")
            await conn.execute("update releases set at = %s", (START,))
        await service.use(2, ["acme", "bolt"])
        await service.use(3, ["acme"], own)
        async with service.pool.connection() as conn:
            alias = await aliases.read(conn, "code:acme")
            evidence = await live.read_evidence(conn, alias, CONFIG.rewards)
            arms = [answer.arm for answer in evidence.answers]
            # Of the shared checkpoint's twelve answers since then, the six to acme; of its own all.
            assert (arms.count("live"), arms.count("canary")) == (12, 6)
            assert (await count_audience(conn, "code:acme", own)).answers == 6
            assert (await count_audience(conn, "code:acme", base.id)).answers == 12
            assert (await count_audience(conn, "code", base.id)).answers == 18
            assert (await read_crowd(conn, "code:acme", 60.0)).sessions == 0  # none of late

    run(database_dsn, tmp_path, base, model, test)


def test_forgetting_a_tenant_removes_what_was_learnt_from_it_alone(
    database_dsn: str, tmp_path: Path, base: Checkpoint, model: Any
) -> None:
    async def test(service: Service) -> None:
        await service.use(1, ["acme", "bolt"])
        async with service.pool.connection() as conn:
            for tenant in ("acme", "bolt"):
                await branches.create_branch(conn, "code", tenant)
        acme, bolt = await service.turn("code:acme"), await service.turn("code:bolt")
        registry = Registry(service.home / "checkpoints")
        async with service.pool.connection() as conn:
            assert await read_owners(conn) == ["acme", "bolt"]
            await ledger.begin(conn, "code:acme", {})
            assert await forget_tenant(conn, "acme") == [acme]
            await remove_pruned(conn, registry, tmp_path / "cache")
            assert registry.checkpoints() == [bolt]
            assert await ledger.current(conn, "code:acme") is None
            assert (await aliases.read(conn, "code:acme")).live == base.id
            assert await read_owners(conn) == ["bolt"]
            assert await forget_tenant(conn, "acme") == [acme]
            assert await forget_tenant(conn, "nobody") == []
        # What it said is unread again, and may be learnt from anew.
        assert await service.turn("code:acme") not in (acme, bolt)

    run(database_dsn, tmp_path, base, model, test)


def test_a_user_is_unlearnt_in_the_tenants_own_too(
    make_dsn: Callable[[], str],  # noqa: F811
    tmp_path: Path,
    base: Checkpoint,
    model: Any,
) -> None:
    async def without(service: Service) -> None:
        await service.use(1, ["acme"])
        async with service.pool.connection() as conn:
            await branches.create_branch(conn, "code", "acme")
            await conn.execute("delete from feedback where generation like 'acme-ada-%'")
            await conn.execute("delete from feedback_keys where generation like 'acme-ada-%'")
        wanted.append(await service.turn("code:acme"))

    async def test(service: Service) -> None:
        await service.use(1, ["acme"])
        async with service.pool.connection() as conn:
            await branches.create_branch(conn, "code", "acme")
        was = await service.turn("code:acme")
        async with await service.pool.getconn() as conn:
            done = await forget_user(
                conn, service.home, "acme", "ada", archive=tmp_path / "a", is_embedded=False
            )
            assert done.forgotten.checkpoints == [was]
            await conn.commit()
            settings = CONFIG.for_worker("code:acme")
            assert settings.tenant == "acme"
            unlearnt = await unlearn(conn, settings, service.home, [was])
            assert unlearnt is not None
            assert (unlearnt.was, unlearnt.now) == (was, wanted[0])
            assert await ancestry.owner_of(conn, unlearnt.now) == "acme"
            shared = await unlearn(conn, CONFIG.for_worker("code"), service.home, [was])
            assert shared is None

    wanted: list[str] = []
    run(make_dsn(), tmp_path / "without", base, model, without)
    run(make_dsn(), tmp_path / "with", base, model, test)
