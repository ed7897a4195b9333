"""The models of one instance: those of the settings file, and those that rows add, change and
remove while it runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from liveweights.app.bases import at_bases
from liveweights.app.billing import settle_costs
from liveweights.app.chores import Chores
from liveweights.app.crossing import Crossing
from liveweights.app.knowledge import Knowledge
from liveweights.app.opening import POLL, Opener
from liveweights.app.place import Place
from liveweights.app.relay import check_relay
from liveweights.app.seat import RETRY, Failure, NotAllowed, Seat
from liveweights.app.terms import Lookout
from liveweights.config import Config
from liveweights.cycle.bases import Standing as Stands
from liveweights.cycle.bases import read_bases
from liveweights.model_table import ConfigError, ModelSettings, ModelTable, read_table
from liveweights.release import models as rows
from liveweights.release.deployer import DATABASE_PATIENCE
from liveweights.release.models import Row, Standing
from liveweights.serve.hosted.models import HostedModels
from liveweights.serve.hosted.settings import HostedSettings
from liveweights.serve.models import Models
from liveweights.store.database import Pool, listen
from liveweights.store.faults import AWAY
from liveweights.weights.checkpoint import Checkpoint

log = logging.getLogger(__name__)

HEARTBEAT = 3.0
"""Seconds between looks at the rows, where nobody says that they have changed."""


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
        self._own = frozenset(config.names())
        self._seats: dict[str, Seat] = {}
        self._wake = asyncio.Event()
        self._changing = Chores(self._wake.set)
        self._opener = Opener(pool, place, self.models, self.hosted, instance=instance)
        self._crossing = Crossing(
            self.models, self._opener, self._knowledge, self._seats, self._wake.set
        )
        self._stands: dict[str, Stands] = {}
        self._failures: dict[str, Failure] = {}
        self._ignored = set[str]()
        self._reported: list[Standing] | None = None
        self._reported_at = float("-inf")
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        place = self._place
        await self._knowledge.begin()
        try:
            for settings, base in zip(place.list_models(), self._bases, strict=True):
                self._put(await self._opener.open_local(settings, base, None))
            for settings in place.list_hosted():
                self._put(await self._opener.open_upstream(settings, None))
        except BaseException:
            await self._close_all()
            raise
        running = [self._follow(), self._listen()]
        if self._opener.memory is not None:
            running.append(self._opener.memory.run())
        self._tasks = [asyncio.create_task(work) for work in running]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        running = [*self._tasks, *self._changing.tasks(), *self._crossing.chores.tasks()]
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
        for name in set(self._changing) - told.keys():
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
        if self._knowledge.is_stale:
            await self._knowledge.renew()
        self._reconcile({row.name: row for row in there})
        self._crossing.step(self._stands, self._changing)
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
                    self._changing.start(name, self._remove(seat))
            elif seat is not None and seat.version == row.version:
                self._failures.pop(name, None)
            elif failure is None or failure.version != row.version or now >= failure.retry_at:
                self._changing.start(name, self._enter(row, seat))

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
            if before is not None and before.runs_on(settings):
                before.settings, before.version = settings, row.version
                self._failures.pop(name, None)
                knowledge.adopt(name, table, known)
                knowledge.tell()
                await knowledge.renew()
                return
            await settle_costs(self._place.dsn, {name: known})
            seat = await self._opener.open(settings, row.version)
            if before is not None:
                await self._opener.until_ready(seat)
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
            if seat.base is None:
                await self._crossing.leave(name)
            await self._opener.drain(before)

    def _is_noted(self, row: Row) -> bool:
        """Whether the terms denied this version before: each denial is a row once."""
        failure = self._failures.get(row.name)
        return failure is not None and failure.denied and failure.version == row.version

    def _resolve(self, name: str, table: ModelTable) -> ModelSettings | HostedSettings:
        """Raises ConfigError."""
        if wrong := table.misplaced():
            raise ConfigError(f"models.{name} cannot have {', '.join(wrong)}")
        config = self._place.config.with_models({name: table})
        check_relay(config)
        named = [one for one in config.list_hosted() if one.alias == name]
        return named[0] if named else at_bases(config, self._stands).find_model(name)

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
        await self._crossing.leave(name)
        await self._opener.drain(seat)

    async def _report(self) -> None:
        """Tell what has changed, and all once per heartbeat."""
        told, now = self.standings(), asyncio.get_running_loop().time()
        if told == self._reported and now - self._reported_at < HEARTBEAT:
            return
        async with self._pool.connection(timeout=DATABASE_PATIENCE) as conn:
            await rows.report(conn, self._instance, told)
        self._reported, self._reported_at = told, now

    async def _close_all(self) -> None:
        for seat in reversed([*self._seats.values(), *self._crossing.beside.values()]):
            await seat.stack.aclose()
