"""Weights as they would be had a user never been: the lineage since the first cycle that read of
them is computed anew, from what else each cycle claimed and with the settings that it had.

This is exact unlearning by retraining from the last checkpoint that is not influenced. What others
were answered by influenced checkpoints, and what they said of it, stays.
"""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import msgspec

from liveweights import __version__
from liveweights.cycle import ledger
from liveweights.cycle.jobs import Start, make_job
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.restarting import unlearning_folder
from liveweights.cycle.settings import WorkerSettings
from liveweights.cycle.trial import Trial, note_trial, read_trial, recomputes
from liveweights.cycle.updating import read_result, remove_job, run_learner, write_job
from liveweights.learn.baseline import Baseline
from liveweights.learn.job import WEIGHTS, Job, Result
from liveweights.learn.settings import LearnSettings
from liveweights.record.window import copy_claim, find_gone, leave_out
from liveweights.release import aliases, ancestry, moves
from liveweights.store.database import Also, Connection
from liveweights.weights import signing
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import HASHES
from liveweights.weights.registry import Registry, get, read_cards, read_parents, register
from liveweights.weights.tensors import Tensors

KEPT = ("licence", "origin", "owed", "tenant")
"""What the card of a checkpoint says that holds for one that is computed anew as well."""
REASON = "a user whose rows it had learnt from was forgotten"


class CannotUnlearn(ValueError):
    """A lineage cannot be computed anew; one sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Turn:
    """A cycle whose outcome is part of what is live, and the checkpoint that it came to."""

    cycle: Cycle
    made: Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Recomputed:
    """A cycle that was computed anew: from ``was`` to ``now``, with so many rows that taught, and
    how far the two are apart: the norm of the difference as a share of that of ``was``, None where
    they do not have the same tensors."""

    cycle: int
    was: str
    now: str
    taught: int
    distance: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlearnt:
    """What became of an alias. ``trial`` is the cycle that judges ``now``; None where that was
    live before, and is again."""

    alias: str
    was: str
    now: str
    turns: tuple[Recomputed, ...]
    trial: int | None


async def unlearn(
    conn: Connection,
    settings: WorkerSettings,
    home: Path,
    influenced: Collection[str],
    *,
    also: Also | None = None,
) -> Unlearnt | None:
    """Compute anew what is live under the alias of ``settings``, without what was removed from the
    record, and let the gate judge it; None where nothing ``influenced`` is live.

    Other weights are judged by a cycle of the alias, which replaces the open one, if there is one;
    they are released if no harm is seen. Where nothing is left to learn from, what was live before
    is so at once; ``also`` is awaited in the transaction of either. ``conn`` is outside any
    transaction. Doing it again computes the same again.
    Raises CannotUnlearn, LearnerFailed, UnknownAlias, NotRegistered, Tampered, DeltaError.
    """
    was = (await aliases.read(conn, settings.alias)).live
    if settings.tenant is not None and await ancestry.owner_of(conn, was) is None:
        return None  # it is what all have, and unlearnt with the model's own alias
    turns, clean = await _find_turns(conn, settings.alias, influenced)
    if not turns:
        return None
    bench = _Bench(conn, settings, home)
    now, done = clean, list[Recomputed]()
    baseline = await _find_baseline(conn, settings.alias, clean)
    for turn in turns:
        recomputed, now, baseline = await bench.recompute(turn, now, baseline)
        done.append(recomputed)
    trial = await _release(conn, settings.alias, now, is_new=now != clean, also=also)
    return Unlearnt(alias=settings.alias, was=was, now=now.id, turns=tuple(done), trial=trial)


async def _find_turns(
    conn: Connection, alias: str, influenced: Collection[str]
) -> tuple[list[Turn], Checkpoint]:
    """The cycles that made what is live, from the first whose outcome is influenced on, oldest
    first, and the checkpoint before these; one that was pruned is computed anew, too."""
    turns: list[Turn] = []
    checkpoint = await get(conn, (await aliases.read(conn, alias)).live)
    while checkpoint.parent is not None:
        is_influenced = checkpoint.id in influenced
        if not is_influenced and (not turns or _is_there(checkpoint)):
            break
        cycle = await ledger.find_maker(conn, alias, checkpoint.id)
        if cycle is None or cycle.learning is None or read_trial(cycle) is not None:
            parents = await read_parents(conn, checkpoint.id)
            if is_influenced and parents.isdisjoint(influenced) and _is_there(checkpoint):
                break  # only its verdict was influenced, not its weights
            why = (
                "and made of what was influenced" if is_influenced else "and its files were pruned"
            )
            raise CannotUnlearn(
                f"{checkpoint.id} was learnt in no cycle of {alias!r}, {why}: bring it anew"
                f" without, or take it back with `liveweights rollback {alias}`"
            )
        turns.append(Turn(cycle, checkpoint))
        checkpoint = await get(conn, checkpoint.parent)
    return turns[::-1], checkpoint


def _is_there(checkpoint: Checkpoint) -> bool:
    return checkpoint.folder.is_dir()


async def _find_baseline(conn: Connection, alias: str, checkpoint: Checkpoint) -> Baseline:
    """As the last cycle that is part of the checkpoint left it."""
    while checkpoint.parent is not None:
        cycle = await ledger.find_maker(conn, alias, checkpoint.id)
        if cycle is not None and (known := await ledger.read_baseline_of(conn, cycle.id)):
            return known
        checkpoint = await get(conn, checkpoint.parent)
    return Baseline({}, {})


async def _release(
    conn: Connection, alias: str, now: Checkpoint, *, is_new: bool, also: Also | None
) -> int | None:
    """Let the gate judge what was computed, or go back to what was there; the cycle that does."""
    await conn.commit()
    async with conn.transaction():
        if (await aliases.read(conn, alias)).live == now.id:
            return None
        if also is not None:
            await also(conn)
        if await ledger.current(conn, alias) is not None:
            await ledger.cancel(conn, alias, REASON)
        if not is_new:
            await moves.rollback(conn, alias, now.id, reason=REASON)
            return None
        trial = note_trial(Trial(needs="no harm", reason=REASON))
        return (await ledger.begin_trial(conn, alias, now.id, trial)).id


@dataclass(frozen=True, slots=True)
class _Bench:
    """Where cycles are computed anew."""

    conn: Connection
    settings: WorkerSettings
    home: Path

    async def recompute(
        self, turn: Turn, incumbent: Checkpoint, baseline: Baseline
    ) -> tuple[Recomputed, Checkpoint, Baseline]:
        """A cycle from other weights on; what came of it, the weights, and the baseline. One that
        has nothing left to learn from comes to what it began with."""
        conn, cycle = self.conn, turn.cycle
        first = recomputes(cycle) or cycle.id
        base = incumbent
        if incumbent.kind == "adapter" and incumbent.base is not None:
            base = await get(conn, incumbent.base)
        start = await self._make_start(cycle, incumbent, base, baseline)
        job = await make_job(conn, cycle, self.settings, start)
        folder = unlearning_folder(self.home) / str(cycle.id)
        await conn.commit()
        try:
            result = await self._learn(job, folder, {incumbent, base}) if job.train else None
            if result is None or not result.report.taught:
                return self._compare(turn, incumbent, 0), incumbent, baseline
            learning = msgspec.to_builtins(result.report)
            known = (await read_cards(conn, [turn.made.id])).get(turn.made.id, {})
            made = await asyncio.to_thread(
                self._registry().store,
                folder / WEIGHTS,
                base.name,
                kind=result.kind,
                base=base.id,
                parent=incumbent.id,
                card={
                    **{name: known[name] for name in KEPT if name in known},
                    "recomputes": first,
                    "code": __version__,
                    "learnt_at": datetime.now(UTC).isoformat(timespec="seconds"),
                    "report": learning,
                },
            )
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        baseline = Baseline(result.baseline_weight, result.baseline_total)
        async with conn.transaction():
            await register(conn, made)
            for one in {first, cycle.id}:
                await leave_out(conn, one, result.left_out)
            if made.id != turn.made.id:
                new = await ledger.write_recomputed(conn, first, incumbent.id, made.id, learning)
                await copy_claim(conn, cycle.id, new)
                await ledger.write_baseline(conn, new, baseline)
        return self._compare(turn, made, result.report.taught), made, baseline

    async def _make_start(
        self, cycle: Cycle, incumbent: Checkpoint, base: Checkpoint, baseline: Baseline
    ) -> Start:
        if gone := await find_gone(self.conn, cycle.id):
            days = " ".join(str(day) for day in gone)
            raise CannotUnlearn(
                f"cycle {cycle.id} learnt from answers that were archived since; bring them back"
                f" first: liveweights restore {days}"
            )
        known = await ledger.read_settings(self.conn, cycle.id)
        try:
            learn = msgspec.convert(known, LearnSettings)
        except msgspec.ValidationError as error:
            raise CannotUnlearn(
                f"the settings that cycle {cycle.id} had are not understood any more: {error}"
            ) from error
        return Start(origin=incumbent, base=base, baseline=baseline, learn=learn)

    async def _learn(self, job: Job, folder: Path, read: Collection[Checkpoint]) -> Result:
        for one in read:
            await asyncio.to_thread(signing.check, one, None, self.settings.cache / HASHES)
        try:
            write_job(folder, job)
            await run_learner(folder)
        finally:
            remove_job(folder)
        result = read_result(folder)
        if result.broken:
            raise CannotUnlearn(result.broken)
        return result

    def _registry(self) -> Registry:
        key = self.settings.signing.key
        sign = partial(signing.sign, private=Path(key).expanduser()) if key else None
        return Registry(self.home / "checkpoints", sign)

    def _compare(self, turn: Turn, now: Checkpoint, taught: int) -> Recomputed:
        return Recomputed(
            cycle=turn.cycle.id,
            was=turn.made.id,
            now=now.id,
            taught=taught,
            distance=measure_distance(turn.made, now),
        )


def measure_distance(was: Checkpoint, now: Checkpoint) -> float | None:
    """The norm of the difference of all tensors as a share of that of ``was``; None where they
    do not have the same ones, or are differences to weights."""
    if was.kind != "adapter" or now.kind != "adapter":
        return None
    try:
        before, after = Tensors(was.folder), Tensors(now.folder)
    except (OSError, ValueError):
        return None  # its files were pruned
    if before.names() != after.names():
        return None
    apart = whole = 0.0
    for name in before.names():
        old, new = before.read(name).double(), after.read(name).double()
        if old.shape != new.shape:
            return None
        apart += float((new - old).square().sum())
        whole += float(old.square().sum())
    return math.sqrt(apart / whole) if whole else None
