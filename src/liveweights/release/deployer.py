"""Brings what an instance holds in its engine to what the database asks for, again and again."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from liveweights.engines.protocol import Engine
from liveweights.release import deployments
from liveweights.release.alias import CHANNEL, Alias, name_branch
from liveweights.release.deployments import Desired, State
from liveweights.release.probe import ProbeReport, probe
from liveweights.release.settings import DeploymentSettings
from liveweights.serve.memory.memory import NoRoom, Share, Unloaded
from liveweights.serve.router import Route, Router
from liveweights.store.database import Pool, listen
from liveweights.store.faults import AWAY
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.probes import read_probes
from liveweights.weights.registry import get
from liveweights.weights.selection import read_selection
from liveweights.weights.whole import Find, make_whole

log = logging.getLogger(__name__)

Check = Callable[[Checkpoint], None]
Expect = Callable[[Checkpoint, Checkpoint | None], int]
"""The bytes of memory that a checkpoint will take; an adapter's base is given."""
DATABASE_PATIENCE = 2.0
"""Seconds to wait for a connection before going on with what was last known."""


@dataclass(slots=True)
class Slot:
    """One checkpoint of this instance. ``asked`` is what asked for it when it was tried."""

    state: State
    asked: tuple[str, ...] = ()
    report: ProbeReport | None = None
    error: str | None = None
    retry_at: float = float("inf")
    unloading: bool = False
    task: asyncio.Task[None] | None = field(default=None, repr=False)


class Deployer:
    """Loads, probes, routes to, drains and unloads checkpoints; use as ``async with``.

    Every second, and whenever an alias changes, it compares what the tables ``aliases`` and
    ``warm`` ask for with what the engine holds. Requests are routed only to checkpoints whose
    probe agreed; until then, and for ever if it does not, the alias keeps answering with what it
    had. A failed probe is not tried again until a row that asks for the checkpoint changes;
    anything else that fails is, ever more slowly. What was rolled back from stops answering at
    once, also while what was rolled back to has to be loaded first. While Postgres is away
    everything that is resident goes on answering.

    ``find`` resolves an id to a checkpoint; by default through the table ``checkpoints``.
    ``check`` raises where the files are not what they should be, and is asked before every load.
    In ``cache`` are kept the whole weights of checkpoints that are differences. With a ``base``
    only aliases that stand on it are served, since the engine has its tokenizer, and not
    ``others``: those have a deployer of their own. ``model`` is the public name that this one is
    for. A name whose alias has gone over to another base is kept until it is ``handed_over``.

    With a ``share`` of the memory, nothing is held while that sleeps, and what is loaded is granted
    before: as many bytes as ``expect`` says. Former checkpoints are not kept then.

    ``per_tenant``: tenants' branches are served, too. What they have of their own is loaded when
    the tenant asks, and what was asked for longest ago makes room (``order_own``).
    """

    def __init__(
        self,
        pool: Pool,
        dsn: str,
        engine: Engine,
        router: Router,
        *,
        instance: str,
        find: Find | None = None,
        settings: DeploymentSettings | None = None,
        check: Check | None = None,
        cache: Path,
        base: Checkpoint | None = None,
        others: frozenset[str] = frozenset(),
        model: str | None = None,
        share: Share | None = None,
        expect: Expect = lambda checkpoint, base: 0,
        handed_over: Callable[[str], bool] = lambda name: True,
        per_tenant: bool = False,
    ) -> None:
        self._pool = pool
        self._dsn = dsn
        self._engine = engine
        self._router = router
        self._instance = instance
        self._find = find or self._look_up
        self._check = check
        self._cache = cache
        self._base = base
        self._others = others
        self._model = model
        self._share = share
        self._expect = expect
        self._handed_over = handed_over
        self._per_tenant = per_tenant
        self._settings = settings or DeploymentSettings()
        self._slots: dict[str, Slot] = {}
        self._attempts: dict[str, int] = {}
        self._desired: Desired | None = None
        self._reported: dict[str, tuple[State, str | None]] | None = None
        self._heartbeat_at = float("-inf")
        self._away = False
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        if share is not None:
            share.wake = self._wake.set
        router.wake = self._wake.set

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._run()), asyncio.create_task(self._listen())]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        running = [*self._tasks, *(s.task for s in self._slots.values() if s.task)]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        try:
            async with self._pool.connection(timeout=DATABASE_PATIENCE) as conn:
                await deployments.withdraw(conn, self._instance)
        except AWAY:
            pass  # the rows are out of date within seconds

    def states(self) -> dict[str, State]:
        """What this instance holds, by checkpoint."""
        return {checkpoint: slot.state for checkpoint, slot in self._slots.items()}

    def failures(self) -> dict[str, str]:
        """Why checkpoints that are asked for cannot answer."""
        return {checkpoint: slot.error for checkpoint, slot in self._slots.items() if slot.error}

    async def step(self) -> None:
        """Look once and start what has to be done; loading and draining go on by themselves."""
        await self._refresh()
        if self._desired is not None:
            self._reconcile(self._desired)
        await self._report()

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self.step()
            except Exception:
                # Whatever it was, requests must go on and the next look may find it mended.
                log.exception("reconciling failed; trying again in %gs", self._settings.interval)
                self._wake.clear()
            try:
                async with asyncio.timeout(self._settings.interval):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _listen(self) -> None:
        async for _ in listen(self._dsn, CHANNEL):
            self._wake.set()

    async def _refresh(self) -> None:
        try:
            async with self._pool.connection(timeout=DATABASE_PATIENCE) as conn:
                self._desired = await deployments.read_desired(
                    conn, self._base and self._base.id, others=self._others, model=self._model
                )
        except AWAY as error:
            if not self._away:
                log.warning("database is away, serving what is resident: %s", error)
            self._away = True
        else:
            self._away = False

    def _reconcile(self, desired: Desired) -> None:
        """Decide and start; no I/O, so that an alias change takes effect at once."""
        own = self._wanted_own(desired)
        wanted = [*self._wanted(desired), *own]
        self._forget(desired, wanted)
        self._start_loading(desired, wanted, own=frozenset(own))
        self._route(desired)
        routed = {
            checkpoint
            for route in self._router.routes()
            for checkpoint in (route.live, route.canary)
            if checkpoint
        }
        self._start_draining(routed.union(wanted) if self._awake else set())
        self._router.resident(c for c, slot in self._slots.items() if slot.state == "ready")
        if self._share is not None:
            self._settle(self._share, desired)

    @property
    def _awake(self) -> bool:
        return self._share is None or self._share.awake

    def _wanted(self, desired: Desired) -> list[str]:
        if not self._awake:
            return []
        keep = self._settings.keep_previous if self._share is None else 0
        return deployments.order(desired, keep, self._settings.max_resident)

    def _wanted_own(self, desired: Desired) -> list[str]:
        """Of tenants' branches."""
        if not self._awake or not self._per_tenant:
            return []
        recent = [name_branch(*which) for which in self._router.recent()]
        return deployments.order_own(desired, recent, self._settings.max_tenant_adapters)

    def _settle(self, share: Share, desired: Desired) -> None:
        """Tell those who wait for the model, and for memory, what there is now."""
        lives = (alias.live for alias in desired.shared)
        failures = (self._slots[live].error for live in lives if live in self._slots)
        share.settle(
            there=any(self._is_ready(route.live) for route in self._router.routes()),
            warm=bool(desired.warm or desired.guests),
            failure=next((error for error in failures if error), None),
        )

    def _forget(self, desired: Desired, wanted: list[str]) -> None:
        """Drop slots that have to be tried again or that are nobody's business any more."""
        resident = self._engine.resident()
        for checkpoint, slot in list(self._slots.items()):
            if slot.state == "ready" and checkpoint not in resident:
                log.error("%s has gone from the engine; loading it again", checkpoint)
                del self._slots[checkpoint]
            elif slot.state == "failed":
                changed = slot.asked != desired.versions.get(checkpoint, ())
                if changed or checkpoint not in wanted:
                    self._attempts.pop(checkpoint, None)
                    del self._slots[checkpoint]
                elif time.monotonic() >= slot.retry_at:
                    del self._slots[checkpoint]
        for checkpoint in resident - self._slots.keys() - set(wanted):
            self._slots[checkpoint] = Slot("ready")  # a stranger; it is drained at once

    def _start_loading(self, desired: Desired, wanted: list[str], *, own: frozenset[str]) -> None:
        for checkpoint in wanted:
            slot = self._slots.get(checkpoint)
            if slot and slot.state == "draining" and not slot.unloading and slot.task:
                slot.task.cancel()
                slot.state, slot.task = "ready", None
        if any(slot.state == "loading" for slot in self._slots.values()):
            return  # one at a time, the most needed first
        missing = [checkpoint for checkpoint in wanted if checkpoint not in self._slots]
        held = [one for one, slot in self._slots.items() if slot.state != "failed"]
        of_tenants = sum(one in own or one in desired.owned for one in held)
        lives = {alias.live for alias in desired.shared}
        for checkpoint in missing:
            if checkpoint in own:
                fits = of_tenants < self._settings.max_tenant_adapters
            else:
                # A live checkpoint may exceed the limit while the one before it drains.
                fits = len(held) - of_tenants < self._settings.max_resident or checkpoint in lives
            if fits:
                slot = Slot("loading", asked=desired.versions.get(checkpoint, ()))
                slot.task = asyncio.create_task(self._load(checkpoint, slot))
                self._slots[checkpoint] = slot
                return

    def _route(self, desired: Desired) -> None:
        for alias in desired.shared:
            if not self._is_ready(alias.live):
                self._stand_in(alias, desired)
                continue
            elsewhere = alias.canary in desired.elsewhere
            canary = alias.canary if elsewhere or self._is_ready(alias.canary) else None
            share, shadow = (alias.share, alias.shadow) if canary else (0.0, 0.0)
            self._router.set(
                alias.name,
                alias.live,
                canary,
                share,
                shadow,
                by_answer=alias.by_answer,
                elsewhere=elsewhere,
            )
        if self._per_tenant:
            self._router.set_branches(
                Route(
                    alias.name,
                    alias.live,
                    alias.canary,
                    alias.share,
                    int(time.time()),
                    alias.shadow,
                    alias.by_answer,
                    model=alias.model,
                    tenant=alias.tenant,
                )
                for alias in desired.branches
            )
        names = {alias.name for alias in desired.shared}
        for route in self._router.routes():
            if route.name not in names and self._handed_over(route.name):
                self._router.remove(route.name)

    def _stand_in(self, alias: Alias, desired: Desired) -> None:
        """What the alias has keeps answering, unless that was rolled back from; then, and after a
        start where the live one cannot be loaded, what it had before does."""
        answering = next((r.live for r in self._router.routes() if r.name == alias.name), None)
        if self._share is not None and not self._is_ready(answering):
            # Its name is known before it is loaded, so that requests can wait for it.
            self._router.set(alias.name, alias.live)
            answering = None
        slot = self._slots.get(alias.live)
        failed = slot is not None and slot.state == "failed"
        if answering is None and not failed:
            return
        if answering is not None and answering not in desired.withdrawn.get(alias.name, ()):
            return
        for checkpoint in desired.stand_ins.get(alias.name, []):
            if self._is_ready(checkpoint):
                log.error("%s: %s answers until %s can", alias.name, checkpoint, alias.live)
                self._router.set(alias.name, checkpoint)
                return

    def _start_draining(self, keep: set[str]) -> None:
        for checkpoint, slot in self._slots.items():
            if slot.state == "ready" and checkpoint not in keep:
                slot.state = "draining"
                slot.task = asyncio.create_task(self._drain(checkpoint, slot))

    def _is_ready(self, checkpoint: str | None) -> bool:
        slot = self._slots.get(checkpoint) if checkpoint else None
        return slot is not None and slot.state == "ready"

    async def _load(self, checkpoint_id: str, slot: Slot) -> None:
        started = time.monotonic()
        try:
            checkpoint = await self._find(checkpoint_id)
            base = None
            if checkpoint.kind == "adapter" and checkpoint.base:
                base = await self._find(checkpoint.base)
            for one in (base, checkpoint):
                if self._check and one:
                    await asyncio.to_thread(self._check, one)
            owner = (self._desired.owned if self._desired else {}).get(checkpoint_id)
            self._router.introduce(checkpoint, read_selection(checkpoint.folder), tenant=owner)
            whole_base = await self._whole(base) if base else None
            whole = await self._whole(checkpoint)
            if self._share is not None:
                expected = await asyncio.to_thread(self._expect, whole, whole_base)
                await self._share.reserve(checkpoint_id, expected)
            await self._engine.load(whole, whole_base)
            probes = await asyncio.to_thread(read_probes, checkpoint.folder)
            slot.report = await probe(self._engine, checkpoint, probes)
            if not slot.report.ok:
                await self._engine.unload(checkpoint_id)
        except Unloaded:
            del self._slots[checkpoint_id]
        except NoRoom as error:
            self._fail(checkpoint_id, slot, error)
        except Exception as error:
            # Any failure of one checkpoint is its own: it is reported and the others go on.
            self._fail(checkpoint_id, slot, error)
            await self._engine.unload(checkpoint_id)
        else:
            self._attempts.pop(checkpoint_id, None)
            slot.state = "ready" if slot.report.ok else "failed"
            slot.error = None if slot.report.ok else f"probe: {slot.report.reason}"
            took = time.monotonic() - started
            level = logging.INFO if slot.report.ok else logging.ERROR
            log.log(level, "%s %s in %.1fs", checkpoint_id, slot.error or "is ready", took)
        finally:
            slot.task = None
            if self._share is not None:
                self._share.loaded(checkpoint_id)
            self._wake.set()

    def _fail(self, checkpoint_id: str, slot: Slot, error: Exception) -> None:
        attempts = self._attempts[checkpoint_id] = self._attempts.get(checkpoint_id, 0) + 1
        pause = min(self._settings.interval * 2 ** (attempts - 1), self._settings.max_retry)
        slot.state = "failed"
        slot.error = f"{type(error).__name__}: {error}"
        slot.retry_at = time.monotonic() + pause
        log.error("%s cannot be loaded, again in %gs: %s", checkpoint_id, pause, slot.error)

    async def _drain(self, checkpoint_id: str, slot: Slot) -> None:
        await self._router.drained(checkpoint_id)
        slot.unloading = True
        try:
            await self._engine.unload(checkpoint_id)
        finally:
            del self._slots[checkpoint_id]
            if self._share is not None:
                self._share.unloaded()
            self._wake.set()
        log.info("%s is unloaded", checkpoint_id)

    async def _report(self) -> None:
        """Write what has changed, and everything once per heartbeat."""
        now = time.monotonic()
        states: dict[str, tuple[State, str | None]] = {
            checkpoint: (slot.state, slot.error) for checkpoint, slot in self._slots.items()
        }
        before = self._reported
        due = now - self._heartbeat_at >= self._settings.heartbeat
        if states == before and not due:
            return
        try:
            async with self._pool.connection(timeout=DATABASE_PATIENCE) as conn:
                if before is None or before.keys() - states.keys():
                    await deployments.withdraw(conn, self._instance, keep=list(states))
                for checkpoint, slot in list(self._slots.items()):
                    if due or before is None or before.get(checkpoint) != states.get(checkpoint):
                        built = slot.report and msgspec.to_builtins(slot.report)
                        await deployments.report(
                            conn,
                            self._instance,
                            checkpoint,
                            slot.state,
                            probe=built,
                            error=slot.error,
                        )
        except AWAY:
            return  # `_refresh` has said so; the next heartbeat writes it
        self._reported = states
        if due:
            self._heartbeat_at = now

    async def _whole(self, checkpoint: Checkpoint) -> Checkpoint:
        return await make_whole(checkpoint, self._find, self._cache)

    async def _look_up(self, checkpoint_id: str) -> Checkpoint:
        if self._base and checkpoint_id == self._base.id:
            return self._base  # in this machine's folder, not in that of whoever registered it
        async with self._pool.connection() as conn:
            return await get(conn, checkpoint_id)
