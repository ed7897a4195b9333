"""Cycles of tenants' own branches: what they learn is what it would be if nobody else ever was."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from tests.cycle.history import LEARN, History, Speaker, Tiny, run_history
from tests.record.rows import START
from tests.record.test_window import HOUR

from liveweights.config import Config
from liveweights.cycle import ledger, live
from liveweights.cycle.forgetting import forget_user
from liveweights.cycle.settings import CycleSettings
from liveweights.cycle.tenants import forget_tenant, found_branches
from liveweights.cycle.unlearning import unlearn
from liveweights.learn.job import Job
from liveweights.release import aliases, ancestry, branches, canaries, moves
from liveweights.release.audience import count_audience, read_crowd
from liveweights.release.lineage import read_lineage
from liveweights.release.retention import remove_pruned
from liveweights.release.scorecard import read_scorecard
from liveweights.weights.registry import Registry, get, read_cards, read_owners

CONFIG = Config(
    cycle=CycleSettings(rest=0.0, min_feedback=1),
    learn=msgspec.structs.replace(LEARN, per_tenant=True, tenant_min_feedback=4),
)
pytestmark = pytest.mark.usefixtures("jobs")


def speak(*tenants: str) -> list[Speaker]:
    """Two users of each."""
    return [
        Speaker(f"{tenant}-{user}", tenant, user, tenant)
        for tenant in tenants
        for user in ("ada", "bob")
    ]


def test_what_a_tenant_learns_is_bit_for_bit_what_it_would_be_alone(
    make_dsn: Callable[[], str],
    tmp_path: Path,
    tiny: Tiny,
    jobs: list[Job],
) -> None:
    learnt: dict[bool, list[Path]] = {}

    async def go(history: History, *, alone: bool) -> None:
        """Two cycles of acme, the second from what the first came to; in between, unless it is
        ``alone``, others speak, the shared checkpoint learns from all, and bolt for itself."""
        tenants = ["acme"] if alone else ["bolt", "acme", "cord"]
        made: list[str] = []
        async with history.pool.connection() as conn:
            await branches.create_branch(conn, "code", "acme")
        for window in (1, 2):
            await history.use(window, speak(*tenants))
            if not alone:
                await history.turn("code")
            made.append(await history.turn("code:acme"))
            if not alone and window == 1:
                async with history.pool.connection() as conn:
                    await branches.create_branch(conn, "code", "bolt")
                await history.turn("code:bolt")
        async with history.pool.connection() as conn:
            cards = await read_cards(conn, made)
            assert [cards[id].get("tenant") for id in made] == ["acme", "acme"]
            first, second = [await get(conn, id) for id in made]
            assert (first.parent, second.parent) == (tiny.base.id, first.id)
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
        jobs.clear()
        run_history(make_dsn(), tmp_path / str(alone), tiny, CONFIG, lambda s: go(s, alone=alone))  # noqa: B023
        ours = [job for job in jobs if {e.generation.tenant for e in job.train} == {"acme"}]
        assert len(ours) == 2
        # The first does not go on from what all have learnt, but is compared with that.
        assert ours[0].parent is None
        assert (ours[0].rival is not None and ours[0].rival.adapter is not None) is not alone
        assert (ours[1].rival, ours[1].parent) == (None, str(learnt[alone][0]))
    for one, other in zip(learnt[True], learnt[False], strict=True):
        name = "adapter_model.safetensors"
        assert (one / name).read_bytes() == (other / name).read_bytes()


def test_a_branch_is_made_once_a_tenant_has_said_enough(
    database_dsn: str, tmp_path: Path, tiny: Tiny
) -> None:
    async def test(history: History) -> None:
        await history.use(1, speak("acme", "bolt"))
        async with history.pool.connection() as conn:
            await conn.execute("update generations set consent = false where tenant = 'bolt'")
            assert await found_branches(conn, "code", 7) == []
            (made,) = await found_branches(conn, "code", 6)
            assert made.name == "code:acme"
            assert await found_branches(conn, "code", 6) == []
            assert await found_branches(conn, "never served", 1) == []
            await conn.execute("update generations set consent = true")
            await aliases.create(conn, "code:bolt", tiny.base.id)  # a model that is called so
            assert await found_branches(conn, "code", 6) == []
            assert (await aliases.read(conn, "code:bolt")).tenant is None

    run_history(database_dsn, tmp_path, tiny, CONFIG, test)


def test_a_canary_of_a_tenant_is_judged_by_that_tenants_answers(
    database_dsn: str, tmp_path: Path, tiny: Tiny
) -> None:
    async def test(history: History) -> None:
        await history.use(1, speak("acme"))
        async with history.pool.connection() as conn:
            await branches.create_branch(conn, "code", "acme")
        own = await history.turn("code:acme")
        async with history.pool.connection() as conn:
            await branches.retire(conn, "acme", "start again")
            await canaries.start_canary(conn, "code:acme", own, 0.5, reason="r")
            await conn.execute("update releases set at = %s", (START,))
        await history.use(2, speak("acme", "bolt"))
        await history.use(3, speak("acme"), own)
        async with history.pool.connection() as conn:
            alias = await aliases.read(conn, "code:acme")
            evidence = await live.read_evidence(conn, alias, CONFIG.rewards)
            # Of the shared checkpoint's twelve answers since then, the six to acme; of its own all.
            assert sorted(evidence.answers.column("canary")) == [0] * 12 + [1] * 6
            assert (await count_audience(conn, "code:acme", own)).answers == 6
            assert (await count_audience(conn, "code:acme", tiny.base.id)).answers == 12
            assert (await count_audience(conn, "code", tiny.base.id)).answers == 18
            assert (await read_crowd(conn, "code:acme", 60.0)).sessions == 0  # none of late

    run_history(database_dsn, tmp_path, tiny, CONFIG, test)


def test_a_shared_canary_is_compared_with_traffic_that_it_was_drawn_for(
    database_dsn: str, tmp_path: Path, tiny: Tiny
) -> None:
    async def test(history: History) -> None:
        await history.use(1, speak("acme", "bolt"))
        async with history.pool.connection() as conn:
            await branches.create_branch(conn, "code", "acme")
        own, shared = await history.turn("code:acme"), await history.turn("code")
        async with history.pool.connection() as conn:
            await branches.retire(conn, "acme", "start again")
            await moves.rollback(conn, "code", tiny.base.id, reason="start again")
            await canaries.start_canary(conn, "code", shared, 0.5, reason="r")
            await canaries.start_canary(conn, "code:acme", own, 0.1, reason="r")
            await canaries.hold_canary(conn, "code:acme", True, reason="r")
            await canaries.start_canary(conn, "code:acme", own, 0.5, reason="r")
            await canaries.abort_canary(conn, "code:acme", reason="r")
            for action, hours in (("canary", 2.5), ("hold", 2.6), ("step", 2.7), ("abort", 3.5)):
                await conn.execute(
                    "update releases set at = %s where alias = 'code:acme' and action = %s",
                    (START + hours * HOUR, action),
                )
            await conn.execute(
                "update releases set at = %s::timestamptz"
                " - (action <> 'canary')::int * interval '1 h' where alias = 'code'",
                (START,),
            )
        for window in (2, 3, 4):  # before acme tries its own, meanwhile, and afterwards
            await history.use(window, speak("acme", "bolt"))
        await history.use(5, speak("acme", "bolt"), shared)
        async with history.pool.connection() as conn:
            alias = await aliases.read(conn, "code")
            evidence = await live.read_evidence(conn, alias, CONFIG.rewards)
            columns = [evidence.answers.column(name).tolist() for name in ("canary", "at")]
            assert Counter(zip(*columns, strict=True)) == {
                **{(0, hours * 3600.0): 12 for hours in (1, 2, 4)},
                (0, 3 * 3600.0): 6,
                (1, 5 * 3600.0): 12,
            }
            assert len(evidence.rewards) == 54
            card = await read_scorecard(conn, shared, {"code": CONFIG.rewards})
            sides = card.live[0].candidate, card.live[0].incumbent
            assert [side.sessions for side in sides] == [12, 42]

    run_history(database_dsn, tmp_path, tiny, CONFIG, test)


def test_forgetting_a_tenant_removes_what_was_learnt_from_it_alone(
    database_dsn: str, tmp_path: Path, tiny: Tiny
) -> None:
    async def test(history: History) -> None:
        await history.use(1, speak("acme", "bolt"))
        async with history.pool.connection() as conn:
            for tenant in ("acme", "bolt"):
                await branches.create_branch(conn, "code", tenant)
        acme, bolt = await history.turn("code:acme"), await history.turn("code:bolt")
        registry = Registry(history.home / "checkpoints")
        async with history.pool.connection() as conn:
            assert await read_owners(conn) == ["acme", "bolt"]
            await ledger.begin(conn, "code:acme", {})
            assert await forget_tenant(conn, "acme") == [acme]
            await remove_pruned(conn, registry, tmp_path / "cache")
            assert registry.checkpoints() == [bolt]
            assert await ledger.current(conn, "code:acme") is None
            assert (await aliases.read(conn, "code:acme")).live == tiny.base.id
            assert await read_owners(conn) == ["bolt"]
            assert await forget_tenant(conn, "acme") == [acme]
            assert await forget_tenant(conn, "nobody") == []
        # What it said is unread again, and may be learnt from anew.
        assert await history.turn("code:acme") not in (acme, bolt)

    run_history(database_dsn, tmp_path, tiny, CONFIG, test)


def test_a_user_is_unlearnt_in_the_tenants_own_too(
    make_dsn: Callable[[], str],
    tmp_path: Path,
    tiny: Tiny,
) -> None:
    async def without(history: History) -> None:
        await history.use(1, speak("acme"))
        async with history.pool.connection() as conn:
            await branches.create_branch(conn, "code", "acme")
            await conn.execute("delete from feedback where generation like 'acme-ada-%'")
            await conn.execute("delete from feedback_keys where generation like 'acme-ada-%'")
        wanted.append(await history.turn("code:acme"))

    async def test(history: History) -> None:
        await history.use(1, speak("acme"))
        async with history.pool.connection() as conn:
            await branches.create_branch(conn, "code", "acme")
        was = await history.turn("code:acme")
        async with await history.pool.getconn() as conn:
            done = await forget_user(
                conn, history.home, "acme", "ada", archive=tmp_path / "a", is_embedded=False
            )
            assert done.forgotten.checkpoints == [was]
            await conn.commit()
            settings = CONFIG.for_worker("code:acme")
            assert settings.tenant == "acme"
            unlearnt = await unlearn(conn, settings, history.home, [was])
            assert unlearnt is not None
            assert (unlearnt.was, unlearnt.now) == (was, wanted[0])
            assert await ancestry.owner_of(conn, unlearnt.now) == "acme"
            shared = await unlearn(conn, CONFIG.for_worker("code"), history.home, [was])
            assert shared is None

    wanted: list[str] = []
    run_history(make_dsn(), tmp_path / "without", tiny, CONFIG, without)
    run_history(make_dsn(), tmp_path / "with", tiny, CONFIG, test)
