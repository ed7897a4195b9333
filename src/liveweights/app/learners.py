"""The workers of a service: one for each model that learns, also of those that rows add."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Container, Mapping
from pathlib import Path

from liveweights.app.bases import at_bases
from liveweights.app.place import Place
from liveweights.app.profiles import CatalogueRefused, Known, read_known
from liveweights.app.terms import make_terms
from liveweights.config import Config, read_tables
from liveweights.cycle.bases import Standing, read_bases
from liveweights.cycle.tenants import forget_tenant, found_branches
from liveweights.cycle.worker import Worker
from liveweights.holder import Held
from liveweights.meter.tenants import read_removed
from liveweights.model_table import ModelTable
from liveweights.release import aliases, branches
from liveweights.release import models as rows
from liveweights.release.alias import UnknownAlias
from liveweights.release.retention import remove_pruned
from liveweights.store.database import Connection, Pool
from liveweights.store.faults import AWAY
from liveweights.terms.facts import Facts
from liveweights.weights.registry import Registry, read_owners

log = logging.getLogger(__name__)

LOOK = 3.0
"""Seconds between looks at the rows."""
LOOK_FOR_TENANTS = 30.0
"""Seconds between looks for tenants that have said enough to learn from it alone."""
HELD = 60.0
"""Seconds after which a model is asked for again that the worker of another service lets learn."""


def find_learners(config: Config, tables: Mapping[str, ModelTable]) -> dict[str, Config]:
    """Names of the rows' models that learn, with the settings that they go by."""
    return {
        name: config.with_models({name: table})
        for name, table in tables.items()
        if not table.upstream and table.learn is not False
    }


def read_elsewhere(
    config: Config, home: Path, bases: Mapping[str, Standing]
) -> dict[tuple[str, str], Facts]:
    """Facts of models on the other bases that they were switched from, or are taken to, by public
    name and base. Raises CatalogueRefused, OSError."""
    local = {model.alias for model in config.list_models()}
    return {
        (alias, base): read_known(config.with_base(alias, name), home)[alias].candidate.facts
        for alias, standing in bases.items()
        if alias in local
        for base, name in standing.models.items()
        if base != standing.stands
    }


class Learners:
    """``run`` lets every model learn, for ever, by the same terms; ``known`` are the models of the
    settings. During an update a lock is held, since two would take turns at the same cores, and
    memory for both."""

    def __init__(
        self, pool: Pool, place: Place, *, url: str, owner: str, known: Mapping[str, Known]
    ) -> None:
        self._terms = make_terms(place.config, known, place.closed)
        self._tables: dict[str, ModelTable] = {}
        """Of the rows that the terms know."""
        self._bases: dict[str, Standing] = {}
        """Those that they go by."""
        self._pool = pool
        self._place = place
        self._url = url
        self._owner = owner
        self._updating = asyncio.Lock()
        config = place.config
        self._workers = [
            self._make(config, model.alias) for model in place.list_models() if model.learns
        ]
        self._added: dict[str, tuple[int, Worker, asyncio.Task[None]]] = {}
        """By name: the row's version."""
        self._of_tenants: dict[str, tuple[Worker, asyncio.Task[None]]] = {}
        """By the name of the branch."""
        self._looked_for_tenants = float("-inf")
        self._forgotten = set[str]()
        """Removed tenants of which nothing was left."""

    def _make(self, config: Config, name: str) -> Worker:
        return Worker(
            self._pool,
            config.for_worker(name),
            self._place.home,
            self._url,
            key=self._place.key,
            owner=self._owner,
            updating=self._updating,
            terms=self._terms,
        )

    async def run(self) -> None:
        """Raises Held where the worker of another service advances the cycles of a model of the
        settings file."""
        await self._look()  # workers go by it
        works = [*(worker.run() for worker in self._workers), self._follow()]
        running = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    async def close(self) -> None:
        """Let go of all cycles."""
        running = [(worker, task) for _, worker, task in self._added.values()]
        for worker, task in (*running, *self._of_tenants.values()):
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await worker.close()
        for worker in self._workers:
            await worker.close()

    def _tasks(self) -> list[asyncio.Task[None]]:
        added = [task for _, _, task in self._added.values()]
        return [*added, *(task for _, task in self._of_tenants.values())]

    async def _follow(self) -> None:
        while True:
            for task in self._tasks():
                if task.done():
                    task.result()  # raises: what ends one worker ends all: they are started again
            await self._look()
            await asyncio.sleep(LOOK)

    async def _look(self) -> None:
        try:
            async with self._pool.connection() as conn:
                await self._reconcile(conn)
                await self._follow_tenants(conn)
        except AWAY as error:
            log.warning("models that learn stay as they are, the database is away: %s", error)
        except (CatalogueRefused, OSError) as error:
            log.error("models that learn stay as they are: %s", error)

    async def _reconcile(self, conn: Connection) -> None:
        there = {row.name: row for row in await rows.read_rows(conn)}
        # What is wrong with the others, who serves tells.
        tables = read_tables(
            self._place.config, {name: row.settings for name, row in there.items()}
        )
        await self._know(tables, await read_bases(conn))
        await self._terms.renew(conn)
        asked = self._terms.ask("load")
        learners = {
            name: config
            for name, config in find_learners(self._place.config, tables).items()
            if self._terms.decide(name, asked).outcome != "deny"
        }
        for name, (version, worker, task) in list(self._added.items()):
            if name not in learners or there[name].version != version:
                # A cycle that is open stays as it is; the next worker, if there is one, goes on.
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await worker.close()
                del self._added[name]
        for name, config in learners.items():
            if name not in self._added and await _has_alias(conn, name):
                worker = self._make(config, name)
                task = asyncio.create_task(_run(worker))
                self._added[name] = there[name].version, worker, task

    async def _follow_tenants(self, conn: Connection) -> None:
        """Let every tenant with enough feedback learn for itself, where the model is to."""
        config = self._place.config.with_models(self._tables)
        models = {
            model.alias: model.learn.tenant_min_feedback
            for model in config.list_models()
            if model.learns and model.learn.per_tenant and model.engine.kind != "openai"
        }
        removed = await read_removed(conn)
        now = asyncio.get_running_loop().time()
        if now >= self._looked_for_tenants + LOOK_FOR_TENANTS:
            self._looked_for_tenants = now
            await self._forget(conn, removed)
            for name, least in models.items():
                for branch in await found_branches(conn, name, least, without=removed):
                    log.info("%s has enough feedback to learn from it alone", branch.tenant)
            await conn.commit()  # before the workers look for them
        if not models and not self._of_tenants:
            return
        wanted = {
            branch.name
            for branch in await branches.read_branches(conn)
            if branch.model in models and branch.tenant not in removed
        }
        for name, (worker, task) in list(self._of_tenants.items()):
            if name in wanted and worker.settings == config.for_worker(name):
                continue
            del self._of_tenants[name]
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await worker.close()
        for name in wanted - self._of_tenants.keys():
            worker = self._make(config, name)
            self._of_tenants[name] = worker, asyncio.create_task(_run(worker))

    async def _forget(self, conn: Connection, removed: Container[str]) -> None:
        """What was learnt from a tenant alone goes with it, and what its branches have open."""
        own = set(await read_owners(conn))
        branched = {b.tenant for b in await branches.read_branches(conn) if b.tenant is not None}
        gone = {tenant for tenant in own | (branched - self._forgotten) if tenant in removed}
        for tenant in sorted(gone):
            await forget_tenant(conn, tenant)
            log.info("%s was removed, and with it what was learnt from it alone", tenant)
        await conn.commit()  # before files go, and before it counts as done
        self._forgotten |= gone
        if gone:
            place = self._place
            registry = Registry(place.home / "checkpoints")
            await remove_pruned(conn, registry, place.config.cache_folder())

    async def _know(self, tables: dict[str, ModelTable], bases: dict[str, Standing]) -> None:
        """Let the terms go by what the rows say now, and by the bases that aliases stand on. Raises
        CatalogueRefused, OSError."""
        if (tables, bases) == (self._tables, self._bases):
            return
        place = self._place
        config = at_bases(place.config.with_models(tables), bases)
        known = await asyncio.to_thread(read_known, config, place.home)
        elsewhere = await asyncio.to_thread(read_elsewhere, config, place.home, bases)
        self._terms.replace(one.candidate for one in known.values())
        self._terms.know_on(elsewhere)
        self._tables, self._bases = tables, bases


async def _run(worker: Worker) -> None:
    while True:
        try:
            await worker.run()
        except Held as error:
            log.warning("%s; asking again in %g s", error, HELD)
        await asyncio.sleep(HELD)


async def _has_alias(conn: Connection, name: str) -> bool:
    """Whether an instance has begun to serve it."""
    try:
        await aliases.read(conn, name)
    except UnknownAlias:
        return False
    return True
