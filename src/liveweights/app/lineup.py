"""The models of one instance: those of the settings file, and those that rows add, change and
remove while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self

import msgspec

from liveweights.app.bases import at_bases, plan_change
from liveweights.app.billing import settle_billing
from liveweights.app.knowledge import Knowledge
from liveweights.app.place import Place
from liveweights.app.start import find_base
from liveweights.app.terms import Lookout, describe
from liveweights.app.wiring import open_hosted, open_model
from liveweights.catalog.card import read_card
from liveweights.config import Config
from liveweights.cycle.bases import Standing as Stands
from liveweights.cycle.bases import read_bases
from liveweights.engines.context import with_context
from liveweights.model_table import ConfigError, ModelSettings, ModelTable, read_table
from liveweights.release import models as rows
from liveweights.release.alias import AnotherBase
from liveweights.release.deployer import AWAY, DATABASE_PATIENCE, Deployer
from liveweights.release.models import Row, Standing
from liveweights.release.standing import stand
from liveweights.serve.hosted.model import Hosted
from liveweights.serve.hosted.models import HostedModels
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.serve.memory.memory import Memory
from liveweights.serve.models import Model, Models
from liveweights.serve.router import Router
from liveweights.store.database import Pool, listen
from liveweights.terms.decision import Match
from liveweights.weights.checkpoint import Checkpoint

log = logging.getLogger(__name__)

HEARTBEAT = 3.0
"""Seconds between looks at the rows, where nobody says that they have changed."""
RETRY = 30.0
"""Seconds after which a model that could not be opened is tried again."""
POLL = 0.1
"""Seconds between looks whether a model is loaded, or nobody uses it any more."""


class CannotReplace(RuntimeError):
    """A model's new settings do not work; it goes on with those of before."""


class NotAllowed(RuntimeError):
    """The terms do not let a model be loaded."""

    def __init__(self, name: str, by: Match) -> None:
        super().__init__(describe(name, by))


@dataclass(slots=True, eq=False, kw_only=True)
class Seat:
    """A model as this instance runs it, local or hosted. ``version`` is its row's; None of the
    settings file's. What ``stack`` holds is closed once nobody uses it."""

    settings: ModelSettings | HostedSettings
    version: int | None
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    base: Checkpoint | None = None
    model: Model | None = None
    deployer: Deployer | None = None
    hosted: Hosted | None = None

    @property
    def is_ready(self) -> bool:
        """Whether it answers under its name."""
        name, model = self.settings.alias, self.model
        return model is not None and any(
            route.name == name and model.router.ready(route.live) for route in model.router.routes()
        )

    def standing(self, instance: str) -> Standing:
        """What is told of it."""
        name = self.settings.alias
        if self.model is None or self.deployer is None:
            return Standing(instance, name, "hosted", self.version)
        routes = [route for route in self.model.router.routes() if route.name == name]
        state = self.model.state(routes[0].live) if routes else "loading"
        error = next(iter(self.deployer.failures().values()), None)
        if state == "loading" and error is not None:
            state = "failed"
        return Standing(instance, name, state, self.version, error if state != "ready" else None)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why the row's ``version`` does not run here, and when it is tried again (loop's time).
    ``denied``: because of the terms, which is a row."""

    version: int
    error: str
    retry_at: float
    denied: bool


class Lineup:
    """Use as ``async with``: inside, the models of the settings file are open, the local ones on
    ``bases``, and rows are followed; ``lookout`` hears of every change. Raises CatalogueRefused,
    OSError.

    A row with the name of a model of the settings file changes nothing. A model that is changed
    goes on answering as before until what takes its place can answer; one that is removed is
    unknown at once, and closed when its last request has ended. One that cannot be opened is told
    of, and the others go on.
    """

    def __init__(
        self,
        pool: Pool,
        place: Place,
        *,
        instance: str,
        bases: Sequence[Checkpoint],
        lookout: Lookout,
    ) -> None:
        config = place.config
        self._bases = bases
        self.models = Models()
        self.hosted = HostedModels()
        self._knowledge = Knowledge(pool, place, lookout)
        self._pool = pool
        self._place = place
        self._instance = instance
        self._memory: Memory | None = None
        if (budget := config.memory_bytes()) is not None:
            deployment = config.deployment
            self._memory = Memory(
                budget,
                most_waiting=deployment.load_waiting,
                seconds=deployment.load_seconds,
            )
        self._own = frozenset(config.names())
        self._seats: dict[str, Seat] = {}
        self._changing: dict[str, asyncio.Task[None]] = {}
        self._stands: dict[str, Stands] = {}
        self._beside: dict[str, Seat] = {}
        """Models on the base that their alias goes over to, or comes from."""
        self._moving: dict[str, asyncio.Task[None]] = {}
        self._move_again: dict[str, float] = {}
        """When, on the loop's clock, a base is tried again that could not be opened."""
        self._failures: dict[str, Failure] = {}
        self._ignored = set[str]()
        self._reported: list[Standing] | None = None
        self._reported_at = float("-inf")
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        place = self._place
        await self._knowledge.begin()
        try:
            for settings, base in zip(place.list_models(), self._bases, strict=True):
                self._put(await self._open_local(settings, base, None))
            for settings in place.list_hosted():
                self._put(await self._open_hosted(settings, None))
        except BaseException:
            await self._close_all()
            raise
        running = [self._follow(), self._listen()]
        if self._memory is not None:
            running.append(self._memory.run())
        self._tasks = [asyncio.create_task(work) for work in running]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        running = [*self._tasks, *self._changing.values(), *self._moving.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._close_all()
        try:
            async with self._pool.connection(timeout=DATABASE_PATIENCE) as conn:
                await rows.report(conn, self._instance, [])
        except AWAY:
            pass  # what was told is out of date within seconds

    @property
    def config(self) -> Config:
        """The settings with the models that run here."""
        return self._knowledge.config

    def standings(self) -> list[Standing]:
        """Where every model stands here, by name."""
        told = {name: seat.standing(self._instance) for name, seat in self._seats.items()}
        for name, failure in self._failures.items():
            told[name] = Standing(self._instance, name, "failed", failure.version, failure.error)
        for name in self._changing.keys() - told.keys():
            told[name] = Standing(self._instance, name, "loading")
        return [told[name] for name in sorted(told)]

    async def step(self) -> None:
        """Look once and start what has to be done; opening and draining go on by themselves."""
        async with self._pool.connection(timeout=DATABASE_PATIENCE) as conn:
            there = await rows.read_rows(conn)
            bases = await read_bases(conn)
        if bases != self._stands:
            self._stands = bases
            self._knowledge.stand(bases)
            await self._knowledge.renew()
        self._reconcile({row.name: row for row in there})
        self._move()
        await self._report()

    async def _follow(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self.step()
            except AWAY as error:
                log.warning("models go on as they are, the database is away: %s", error)
            except Exception:
                # Whatever it was, requests must go on and the next look may find it mended.
                log.exception("following the models failed; trying again in %gs", HEARTBEAT)
            loading = any(one.state == "loading" for one in self.standings())
            try:
                async with asyncio.timeout(POLL if loading else HEARTBEAT):
                    await self._wake.wait()
            except TimeoutError:
                pass

    async def _listen(self) -> None:
        async for _ in listen(self._place.dsn, rows.CHANNEL):
            self._wake.set()

    def _reconcile(self, there: dict[str, Row]) -> None:
        for name in (there.keys() & self._own) - self._ignored:
            log.warning("the model %s is the settings file's: what was added is left alone", name)
        self._ignored = set(there.keys() & self._own)
        added = {name for name, seat in self._seats.items() if seat.version is not None}
        now = asyncio.get_running_loop().time()
        for name in sorted((there.keys() | added | self._failures.keys()) - self._own):
            row, seat, failure = there.get(name), self._seats.get(name), self._failures.get(name)
            if name in self._changing:
                continue
            if row is None:
                self._failures.pop(name, None)
                self._knowledge.forgive(name)
                if seat is not None:
                    self._start(name, self._remove(seat))
            elif seat is not None and seat.version == row.version:
                self._failures.pop(name, None)
            elif failure is None or failure.version != row.version or now >= failure.retry_at:
                self._start(name, self._enter(row, seat))

    def _move(self) -> None:
        """Begin what brings models to the bases that their aliases stand on, or are taken to."""
        now = asyncio.get_running_loop().time()
        for name, standing in self._stands.items():
            seat, beside = self._seats.get(name), self._beside.get(name)
            busy = name in self._changing or name in self._moving
            if seat is None or seat.base is None or busy or now < self._move_again.get(name, 0):
                continue
            change = plan_change(
                standing,
                answers=seat.base.id,
                beside=beside.base.id if beside and beside.base else None,
                is_ready=beside is not None and beside.is_ready,
            )
            if change is None:
                continue
            if change.kind == "open":
                work = self._open_beside(seat, change.base, standing.models.get(change.base))
                self._start(name, work, self._moving)
            elif beside is not None and change.kind == "take over":
                self._seats[name], self._beside[name] = beside, seat
                if beside.model is not None:
                    self._knowledge.local[name] = beside.model
                    self._knowledge.tell()
                log.info("the model %s answers on %s", name, change.base)
                self._wake.set()
            elif beside is not None:
                self._start(name, self._close_beside(beside), self._moving)

    async def _open_beside(self, seat: Seat, base: str, model: str | None) -> None:
        """Open the model on another base beside the one that answers."""
        settings = seat.settings
        assert isinstance(settings, ModelSettings)
        name = settings.alias
        try:
            if model is None:
                raise ConfigError(f"no switch says what {base} is called")
            known = await self._knowledge.look_up_on(name, model)
            if (by := await self._knowledge.ask_terms(known, noted=False)) is not None:
                raise NotAllowed(name, by)
            settings = msgspec.structs.replace(settings, base=model)
            cache = self._place.config.cache_folder()
            found = await find_base(settings, cache, learns=settings.learns)
            if found.id != base:
                raise ConfigError(f"{model} is {found.id} here, not {base}")
            other = await self._open_fitted(settings, found, seat.version, beside=True)
        except Exception as error:
            # Any failure of one model is its own: it is reported and the others go on.
            self._move_again[name] = asyncio.get_running_loop().time() + RETRY
            log.error("the model %s cannot be opened on %s: %s", name, base, error)
            return
        assert other.model is not None
        self.models.add(other.model)
        self._beside[name] = other

    async def _close_beside(self, beside: Seat) -> None:
        assert beside.model is not None
        assert beside.base is not None
        self.models.remove(beside.model)
        del self._beside[beside.settings.alias]
        await self._drain(beside)
        log.info("the model %s is closed on %s", beside.settings.alias, beside.base.id)

    def _is_handed_over(self, name: str, router: Router) -> bool:
        """Whether another model answers under the name than that of the router."""
        return any(
            route.name == name and model.router.ready(route.live)
            for model in self.models
            if model.router is not router
            for route in model.router.routes()
        )

    def _start(
        self,
        name: str,
        work: Coroutine[Any, Any, None],
        under: dict[str, asyncio.Task[None]] | None = None,
    ) -> None:
        tasks = self._changing if under is None else under
        task = tasks[name] = asyncio.create_task(work)

        def done(task: asyncio.Task[None]) -> None:
            del tasks[name]
            self._wake.set()
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("what ran for the model %s did not end well", name, exc_info=error)

        task.add_done_callback(done)

    async def _enter(self, row: Row, before: Seat | None) -> None:
        """Let the model go by the row."""
        name, knowledge = row.name, self._knowledge
        try:
            table = read_table(name, row.settings)
            settings = self._resolve(name, table)
            known = await knowledge.look_up(name, table)
            if (by := await knowledge.ask_terms(known, noted=self._is_noted(row))) is not None:
                if before is None:
                    knowledge.deny(name, table, known, by)
                raise NotAllowed(name, by)
            if before is not None and _runs_on(before, settings):
                before.settings, before.version = settings, row.version
                self._failures.pop(name, None)
                knowledge.adopt(name, table, known)
                knowledge.tell()
                await knowledge.renew()
                return
            place = self._place
            await settle_billing(place.dsn, place.config, place.home)
            seat = await self._open(settings, row.version)
            if before is not None:
                await self._until_ready(seat)
        except Exception as error:
            # Any failure of one model is its own: it is reported and the others go on.
            loop = asyncio.get_running_loop()
            told = " ".join(str(error).split()) or repr(error)
            denied = isinstance(error, NotAllowed)
            self._failures[name] = Failure(row.version, told, loop.time() + RETRY, denied)
            if not denied:
                knowledge.forgive(name)
            log.error("the model %s does not run by what was added: %s", name, told)
            return
        self._failures.pop(name, None)
        knowledge.adopt(name, table, known)
        self._put(seat, in_place_of=before)
        log.info("the model %s goes by version %d of what was added", name, row.version)
        await knowledge.renew()
        if before is not None:
            await self._drain(before)

    def _is_noted(self, row: Row) -> bool:
        """Whether the terms denied this version before: each denial is a row once."""
        failure = self._failures.get(row.name)
        return failure is not None and failure.denied and failure.version == row.version

    def _resolve(self, name: str, table: ModelTable) -> ModelSettings | HostedSettings:
        """Raises ConfigError."""
        if wrong := table.misplaced():
            raise ConfigError(f"models.{name} cannot have {', '.join(wrong)}")
        config = self._place.config.with_models({name: table})
        named = [one for one in config.list_hosted() if one.alias == name]
        return named[0] if named else at_bases(config, self._stands).find_model(name)

    async def _open(self, settings: ModelSettings | HostedSettings, version: int) -> Seat:
        if isinstance(settings, HostedSettings):
            return await self._open_hosted(settings, version)
        config = self._place.config
        cache = config.cache_folder()
        base = await find_base(settings, cache, learns=settings.learns)
        facts = await asyncio.to_thread(read_card, base, cache)
        try:
            async with self._pool.connection() as conn:
                await stand(conn, settings.alias, base, facts, model=settings.base)
        except AnotherBase:
            raise ConfigError(
                f"{settings.alias!r} stands on another base than {base.id}, with what was learnt "
                f"there: add {settings.base} under another name"
            ) from None
        return await self._open_fitted(settings, base, version)

    async def _open_fitted(
        self,
        settings: ModelSettings,
        base: Checkpoint,
        version: int | None,
        *,
        beside: bool = False,
    ) -> Seat:
        residents = self._place.config.deployment.most(per_tenant=settings.learn.per_tenant)
        engine = await asyncio.to_thread(with_context, base, settings.engine, residents=residents)
        fitted = msgspec.structs.replace(settings, engine=engine)
        seat = await self._open_local(fitted, base, version, beside=beside)
        seat.settings = settings  # as they are asked for, to be compared with the next
        return seat

    async def _open_local(
        self,
        settings: ModelSettings,
        base: Checkpoint,
        version: int | None,
        *,
        beside: bool = False,
    ) -> Seat:
        seat = Seat(settings=settings, version=version, base=base)
        # What takes a model's place is another instance of it for a while.
        suffix = "" if version is None else f".{version}"
        if beside:
            suffix += f"+{base.id.rpartition('@')[2]}"
        try:
            seat.model, seat.deployer = await open_model(
                seat.stack,
                self._pool,
                self._place,
                settings,
                base=base,
                instance=f"{self._instance}/{settings.alias}{suffix}",
                memory=self._memory,
                handed_over=partial(self._is_handed_over, settings.alias),
            )
        except BaseException:
            await seat.stack.aclose()
            raise
        return seat

    async def _open_hosted(self, settings: HostedSettings, version: int | None) -> Seat:
        seat = Seat(settings=settings, version=version)
        try:
            seat.hosted = await open_hosted(seat.stack, self._pool, self._place.config, settings)
        except BaseException:
            await seat.stack.aclose()
            raise
        return seat

    async def _until_ready(self, seat: Seat) -> None:
        """Return when it can answer, or is loaded when it is asked for. Raises CannotReplace."""
        try:
            while (standing := seat.standing(self._instance)).state == "loading":
                await asyncio.sleep(POLL)
            if standing.state == "failed":
                raise CannotReplace(standing.error or "it cannot be loaded")
        except BaseException:
            await seat.stack.aclose()
            raise

    def _put(self, seat: Seat, in_place_of: Seat | None = None) -> None:
        """From now on it answers under its name."""
        name, before = seat.settings.alias, in_place_of
        if seat.hosted is not None:
            self.hosted.put(seat.hosted)
            if before is not None and before.model is not None:
                self.models.remove(before.model)
        elif seat.model is not None:
            self.models.add(seat.model, in_place_of=before.model if before else None)
            if before is not None and before.hosted is not None:
                self.hosted.remove(name)
        self._seats[name] = seat
        if seat.model is not None:
            self._knowledge.local[name] = seat.model
        else:
            self._knowledge.local.pop(name, None)
        self._knowledge.tell()

    async def _remove(self, seat: Seat) -> None:
        name = seat.settings.alias
        if seat.model is not None:
            self.models.remove(seat.model)
        else:
            self.hosted.remove(name)
        del self._seats[name]
        self._knowledge.local.pop(name, None)
        self._knowledge.forget(name)
        self._knowledge.tell()
        log.info("the model %s answers no more", name)
        await self._knowledge.renew()
        if (beside := self._beside.get(name)) is not None and name not in self._moving:
            await self._close_beside(beside)
        await self._drain(seat)

    async def _drain(self, seat: Seat) -> None:
        """Close it once nobody uses it, and not before: who came before is answered."""
        try:
            if seat.hosted is not None:
                await self.hosted.drained(seat.hosted)
            elif seat.model is not None:
                share = seat.model.share
                while share is not None and share.users:
                    await asyncio.sleep(POLL)
                await seat.model.router.all_drained()
        finally:
            await seat.stack.aclose()

    async def _report(self) -> None:
        """Tell what has changed, and all once per heartbeat."""
        told, now = self.standings(), asyncio.get_running_loop().time()
        if told == self._reported and now - self._reported_at < HEARTBEAT:
            return
        async with self._pool.connection(timeout=DATABASE_PATIENCE) as conn:
            await rows.report(conn, self._instance, told)
        self._reported, self._reported_at = told, now

    async def _close_all(self) -> None:
        for seat in reversed([*self._seats.values(), *self._beside.values()]):
            await seat.stack.aclose()


def _runs_on(seat: Seat, settings: ModelSettings | HostedSettings) -> bool:
    """Whether what runs for the seat does for other settings, too."""
    before = seat.settings
    if isinstance(before, ModelSettings) and isinstance(settings, ModelSettings):
        return before.runs_like(settings)
    return before == settings
