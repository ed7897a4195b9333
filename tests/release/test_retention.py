from __future__ import annotations

import asyncio
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.weights.test_registry import adapter

from liveweights.cycle.ledger import advance, begin
from liveweights.release import aliases, canaries, models, moves
from liveweights.release.alias import AliasError
from liveweights.release.branches import create_branch
from liveweights.release.deployments import keep_warm
from liveweights.release.retention import (
    GB,
    Stored,
    choose,
    find_doomed,
    prune,
    read_needed,
    remove_work,
)
from liveweights.release.settings import RetentionSettings
from liveweights.store.database import Connection
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.delta import FILE
from liveweights.weights.registry import Registry, register

NOW = datetime(2026, 6, 1, tzinfo=UTC)
BASE = "base@000000000000"
NOTHING_STAYS = RetentionSettings(rollback_targets=1, released=0, days=0.0, free_gb=0.0)


def old(name: str, days: float, live: bool = False, size: int = 10) -> Stored:
    at = NOW - timedelta(days=days)
    return Stored(name, at, at if live else None, size)


def test_rejected_ones_go_by_age_and_released_ones_by_number() -> None:
    stored = [old("r1", 30), old("r2", 1), *(old(f"l{n}", 40 - n, live=True) for n in range(4))]
    settings = RetentionSettings(released=2, days=7.0, free_gb=0.0)
    doomed = choose(stored, {"l0": "live on 'm'"}, settings, now=NOW, free=0)
    assert [one.id for one in doomed] == ["l1", "r1"]
    assert "older than 7 days" in doomed[1].why
    assert "last 2" in doomed[0].why


def test_little_free_disk_takes_the_oldest_until_it_is_enough() -> None:
    stored = [old(f"c{n}", 30 - n, size=int(GB)) for n in range(5)]
    settings = RetentionSettings(days=365.0, free_gb=2.5)
    doomed = choose(stored, {"c0": "live"}, settings, now=NOW, free=int(0.9 * GB))
    assert [one.id for one in doomed] == ["c1", "c2"]
    assert "2.5 GB" in doomed[0].why


@given(
    st.lists(st.tuples(st.floats(0, 100), st.booleans(), st.integers(0, int(2 * GB))), max_size=12),
    st.sets(st.integers(0, 11)),
    st.builds(
        RetentionSettings,
        released=st.integers(0, 5),
        days=st.floats(0, 50),
        free_gb=st.floats(0, 50),
    ),
    st.integers(0, int(10 * GB)),
)
def test_what_is_needed_is_never_chosen_and_pressure_spares_nothing_else(
    things: list[tuple[float, bool, int]],
    places: set[int],
    settings: RetentionSettings,
    free: int,
) -> None:
    stored = [old(f"c{n}", days, live, size) for n, (days, live, size) in enumerate(things)]
    needed = {one.id: "needed" for n, one in enumerate(stored) if n in places}
    doomed = choose(stored, needed, settings, now=NOW, free=free)
    names = [one.id for one in doomed]
    assert len(names) == len(set(names))
    assert not needed.keys() & set(names)
    if free + sum(one.size for one in doomed) < settings.free_gb * GB:
        assert set(names) == {one.id for one in stored} - needed.keys()


class Disk:
    """A registry and its database with the base and some adapters."""

    def __init__(self, conn: Connection, folder: Path) -> None:
        self.conn, self.folder = conn, folder
        self.registry = Registry(folder / "checkpoints")
        self.cache = folder / "cache"

    async def add(
        self, number: int, parent: str = BASE, delta: bool = False, tenant: str | None = None
    ) -> str:
        staging = adapter(self.folder / f"s{number}", float(number))
        if delta:
            (staging / "adapter_model.safetensors").rename(staging / FILE)
        card = {} if tenant is None else {"tenant": tenant}
        made = self.registry.store(
            staging, "m", kind="adapter", base=BASE, parent=parent, card=card
        )
        await register(self.conn, made)
        gguf = self.cache / "gguf" / f"{made.id}.lora.v1.gguf"
        gguf.parent.mkdir(parents=True, exist_ok=True)
        gguf.write_bytes(b"x" * 100)
        for kind in ("whole", "openvino"):
            folder = self.cache / kind / f"{made.id}{'.v1' if kind == 'openvino' else ''}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "model").write_bytes(b"x" * 100)
        return made.id

    async def prune(self) -> list[str]:
        gone = await prune(self.conn, self.registry, self.cache, NOTHING_STAYS)
        return [one.id for one in gone]


def on_disk(dsn: str, folder: Path, test) -> None:
    async def go() -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            await register(conn, Checkpoint(BASE, "base", Path("/")), {})
            await aliases.create(conn, "m", BASE)
            await test(Disk(conn, folder))

    asyncio.run(go())


def test_everything_that_is_needed_stays_and_says_why(database_dsn: str, tmp_path: Path) -> None:
    async def test(disk: Disk) -> None:
        conn = disk.conn
        first, second, third, canary, warm, idle = [await disk.add(n) for n in range(6)]
        for checkpoint in (first, second, third):
            await moves.promote(conn, "m", checkpoint, reason="r")
        await begin(conn, "m", {})
        await canaries.start_canary(conn, "m", canary, 0.1, reason="r")
        await keep_warm(conn, warm, 60)
        needed = await read_needed(conn, 1)
        assert needed[third] == "live on 'm'"
        assert needed[canary] == "canary of 'm'"
        assert needed[second] == "rollback target of 'm'"
        assert needed[warm] == "held warm"
        assert needed[BASE].startswith("part of")
        assert set(await disk.prune()) == {first, idle}
        assert set(disk.registry.checkpoints()) == {second, third, canary, warm}
        assert not list(disk.cache.glob(f"*/{idle}*"))
        assert len(list(disk.cache.glob(f"*/{third}*"))) == 3
        assert await disk.prune() == []

    on_disk(database_dsn, tmp_path, test)


def test_models_that_were_added_keep_what_they_need_and_so_do_their_branches(
    database_dsn: str, tmp_path: Path
) -> None:
    """Whether they are served now or were removed, and may be added again."""

    async def test(disk: Disk) -> None:
        conn = disk.conn
        await models.add(conn, "added", {})
        await aliases.create(conn, "added", BASE)
        branch = await create_branch(conn, "added", "acme")
        for name, tenant in (("added", None), (branch.name, "acme")):
            numbers = range(len(kept), len(kept) + 3)
            before, live, canary = [await disk.add(n, tenant=tenant) for n in numbers]
            for checkpoint in (before, live):
                await moves.promote(conn, name, checkpoint, reason="r")
            await begin(conn, name, {})
            await canaries.start_canary(conn, name, canary, 0.1, reason="r")
            kept[before] = f"rollback target of '{name}'"
            kept[live], kept[canary] = f"live on '{name}'", f"canary of '{name}'"
        idle = await disk.add(9)
        for state in ("served", "removed"):
            if state == "removed":
                await models.remove(conn, "added")
            needed = await read_needed(conn, 1)
            assert needed.items() >= kept.items()
            assert await disk.prune() == ([idle] if state == "served" else [])
        assert set(disk.registry.checkpoints()) == kept.keys()
        assert (await moves.rollback(conn, "added", reason="r")).live in kept

    kept: dict[str, str] = {}
    on_disk(database_dsn, tmp_path, test)


def test_what_was_left_half_made_in_the_cache_goes(database_dsn: str, tmp_path: Path) -> None:
    async def test(disk: Disk) -> None:
        hours = {"gguf/.m@1.gguf": 2, "whole/.m@1": 2, "models/.gguf-1.v1": 2, "openvino/.m@1": 2}
        hours |= {"gguf/.m@2.gguf": 0, ".upload": 2}
        for name, ago in (hours | {"./.upload": 25}).items():
            left = disk.cache / f"{name}.{'abcd_123' if ago < 3 else 'abcd_124'}"
            (left / "half").mkdir(parents=True)
            then = time.time() - 3600 * ago
            for one in (left / "half", left):
                os.utime(one, (then, then))
        await disk.prune()
        left = {one.name for one in disk.cache.rglob(".*")}
        assert left == {".m@2.gguf.abcd_123", ".upload.abcd_123"}

    on_disk(database_dsn, tmp_path, test)


def test_a_delta_keeps_the_weights_that_it_changes(database_dsn: str, tmp_path: Path) -> None:
    async def test(disk: Disk) -> None:
        parent = await disk.add(0)
        delta = await disk.add(1, parent=parent, delta=True)
        await moves.promote(disk.conn, "m", delta, reason="r")
        assert await disk.prune() == []

    on_disk(database_dsn, tmp_path, test)


def test_what_was_pruned_can_be_named_but_not_had(database_dsn: str, tmp_path: Path) -> None:
    async def test(disk: Disk) -> None:
        old, new, gone = await disk.add(0), await disk.add(1), await disk.add(2)
        for checkpoint in (gone, old, new):
            await moves.promote(disk.conn, "m", checkpoint, reason="r")
        assert await disk.prune() == [gone]
        for change in (
            moves.rollback(disk.conn, "m", gone, reason="r"),
            moves.promote(disk.conn, "m", gone, reason="r"),
            canaries.start_canary(disk.conn, "m", gone, 0.1, reason="r"),
        ):
            with pytest.raises(AliasError, match="pruned on"):
                await change
        assert (await moves.rollback(disk.conn, "m", reason="r")).live == old
        # The next former one is gone: the rollback goes past it to what is there.
        assert (await moves.rollback(disk.conn, "m", reason="r")).live == BASE
        shutil.rmtree(tmp_path / "s2")
        assert await disk.add(2) == gone  # stored once more it is there again
        assert (await moves.promote(disk.conn, "m", gone, reason="r")).live == gone

    on_disk(database_dsn, tmp_path, test)


def test_a_crash_between_mark_and_removal_is_finished_by_the_next_call(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(disk: Disk) -> None:
        idle = await disk.add(0)
        await disk.conn.execute("update checkpoints set pruned_at = now() where id = %s", (idle,))
        assert await find_doomed(disk.conn, disk.registry, NOTHING_STAYS) == []
        assert await disk.prune() == [idle]
        assert disk.registry.checkpoints() == []

    on_disk(database_dsn, tmp_path, test)


def test_what_a_cycle_stored_and_nobody_registered_goes_when_it_has_ended(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(disk: Disk) -> None:
        def store(number: int, **card: object) -> str:
            staging = adapter(disk.folder / f"s{number}", float(number))
            how = {"kind": "adapter", "base": BASE, "parent": BASE, "card": card}
            return disk.registry.store(staging, "m", **how).id  # type: ignore[arg-type]

        ended = await begin(disk.conn, "m", {})
        await advance(disk.conn, ended, "ended", outcome="cancelled")
        still_open = await begin(disk.conn, "m", {})
        store(1, cycle=ended.id)
        kept = {store(2, cycle=still_open.id), store(3, cycle=10**6), store(4)}
        await disk.prune()
        assert set(disk.registry.checkpoints()) == kept

    on_disk(database_dsn, tmp_path, test)


def test_only_open_and_the_last_cycles_keep_what_their_update_read(
    database_dsn: str, tmp_path: Path
) -> None:
    async def test(disk: Disk) -> None:
        for _ in range(3):
            cycle = await begin(disk.conn, "m", {})
            cycles.append(cycle.id)
            weights = tmp_path / "cycles" / str(cycle.id) / "weights"
            weights.mkdir(parents=True)
            (weights.parent / "job.json").write_text("what users wrote")
            (weights.parent / "gate.json").write_text("kept")
            (weights.parent / "resume.pt").write_text("what a killed update goes on from")
            (weights.parent / "resume.partial").write_text("half of it")
            if len(cycles) < 3:
                await advance(disk.conn, cycle, "ended", outcome="no_signal")
        await remove_work(disk.conn, tmp_path, keep=2)

    cycles: list[int] = []
    on_disk(database_dsn, tmp_path, test)
    left = {str(f.relative_to(tmp_path / "cycles")) for f in tmp_path.glob("cycles/*/*")}
    first, *others = cycles
    assert left == {
        f"{first}/gate.json",
        *(f"{others[-1]}/{name}" for name in ("resume.pt", "resume.partial")),
        *(f"{one}/{name}" for one in others for name in ("weights", "job.json", "gate.json")),
    }
