"""Who minds the processes of a service."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from liveweights import deadlines
from liveweights.access.users import invite_first
from liveweights.app.billing import read_all_known, settle_billing
from liveweights.app.hearing import wait_until_deaf
from liveweights.app.objections import ask_database, ask_older
from liveweights.app.place import Place
from liveweights.app.profiles import Known
from liveweights.app.relay import check_relay
from liveweights.app.report import Listener
from liveweights.app.restarts import LONGEST, PERMANENT, GaveUp, Restarts, explain
from liveweights.app.running import url_of, write_running
from liveweights.app.start import check_database, find_base, find_port, make_provider, settle
from liveweights.app.terms import check_closed, find_closed
from liveweights.app.welcome import welcome
from liveweights.child import describe
from liveweights.config import Config
from liveweights.engines.context import with_context
from liveweights.file_modes import make_home
from liveweights.holder import Holder, hold_home, is_held
from liveweights.machine import yielding_environment
from liveweights.serve.gateway.counts import find_counter
from liveweights.service_key import make_key
from liveweights.stop_signals import on_stop
from liveweights.store.account import AccountError
from liveweights.store.binaries import NoBinaries
from liveweights.store.embedded import EmbeddedPostgres, ServerError
from liveweights.store.migrate import find_mismatch, migrate
from liveweights.store.place import PlaceError
from liveweights.terminal import clean
from liveweights.terms.decision import Match
from liveweights.weights.checkpoint import Checkpoint

log = logging.getLogger(__name__)
T = TypeVar("T")
START_FAILURES = (ServerError, AccountError, PlaceError, NoBinaries, OSError)
"""Why a server that ran before could not be started again."""


class Supervisor:
    """Keeps Postgres, the API and the worker alive; each may be killed at any time."""

    def __init__(
        self,
        config: Config,
        home: Path,
        roles: Sequence[str] = ("api", "worker"),
        *,
        switch: bool = False,
        file: Path | None = None,
    ) -> None:
        """``file`` is the settings file that ``config`` is of, if it is of one."""
        self._config = config
        self._home = home
        self._roles = roles
        self._switch = switch
        self._file = file
        self._stopping = asyncio.Event()
        self._postgres: EmbeddedPostgres | None = None
        self._dsn: str | None = None
        self._gave_up: GaveUp | None = None
        self._welcomed = False

    async def run(self) -> None:
        """Return once told to stop (``on_stop``).

        Whatever can be seen before anything runs is looked at first, and raised by the one that
        looks (see ``start``). ``switch`` lets the alias go over to the model's base. Raises
        GaveUp, with everything ended, when a part does not stay alive.
        """
        check_relay(self._config)
        make_provider(self._config)
        on_stop(self._stopping.set)
        make_home(self._home)
        try:
            with hold_home(self._home) as holder:
                await self._run(holder)
        finally:
            if self._postgres:
                # As a command does: one that a command has started is left to it. Once the home is
                # free, so that whoever of the two is last ends it.
                needed = partial(is_held, self._home)
                await asyncio.to_thread(self._postgres.stop, unless=needed)
        if self._gave_up is not None:
            raise self._gave_up

    async def _run(self, holder: Holder) -> None:
        port = await find_port(self._config.api.host, self._config.api.port)
        config = self._config = self._config.with_port(port)
        dsn = config.database_url()
        if dsn is not None:
            await check_database(dsn)
        bases: list[Checkpoint] = []
        if upstream := config.gateway.upstream:
            await asyncio.to_thread(find_counter, config.gateway.tokenizer)
            log.info("passing requests on to %s", upstream)
        else:
            for model in config.list_models():
                learns = model.learns and "worker" in self._roles
                finding = find_base(model, config.cache_folder(), learns=learns)
                if (base := await self._unless_stopped(finding)) is None:
                    return
                bases.append(base)
        if dsn is None:
            self._postgres = EmbeddedPostgres(self._home / "postgres")
            dsn = await asyncio.to_thread(self._postgres.start)
        learns = bool(bases) and "worker" in self._roles
        # All that can refuse the start is asked before anything is written. A database of an
        # older version can be asked for less, and the rest once it is of this one.
        if await asyncio.to_thread(find_mismatch, dsn) is not None:
            await self._unless_stopped(ask_older(dsn, config, holder=holder, learns=learns))
            if self._stopping.is_set():
                return
            await asyncio.to_thread(migrate, dsn)
        asking = ask_database(
            dsn,
            config,
            bases,
            home=self._home,
            holder=holder,
            learns=learns,
            switch=self._switch,
        )
        if (asked := await self._unless_stopped(asking)) is None:
            return
        config, bases = asked
        self._config = config
        self._dsn = dsn
        place = await self._settle(dsn, bases)
        try:
            await self._mind_all(place)
        finally:
            if self._postgres:
                # Also one that a command has started: the home is this service's.
                await asyncio.to_thread(self._postgres.stop, owned=True)
                self._postgres = None

    async def _mind_all(self, place: Place) -> None:
        """Keep all parts alive until it is told to stop; they have ended then."""
        minders = [asyncio.create_task(self._mind(role, place)) for role in self._roles]
        if self._postgres:
            minders.append(asyncio.create_task(self._mind_postgres(self._postgres)))
        stopped = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({stopped, *minders}, return_when=asyncio.FIRST_COMPLETED)
        # A minder that ends by itself would leave its part to nobody. All end before Postgres.
        self._stopping.set()
        for ended in await asyncio.gather(*minders, return_exceptions=True):
            if isinstance(ended, BaseException):
                raise ended

    async def _settle(self, dsn: str, bases: list[Checkpoint]) -> Place:
        """Write down what this start says; what its processes know then."""
        config = self._config
        every = await read_all_known(dsn, config, self._home)
        known = {name: every[name] for name in config.names()}
        closed = {} if config.gateway.upstream else await self._close(dsn, known)
        await settle_billing(dsn, config, every)
        place = Place(config, self._home, dsn, make_key(self._home), closed, known)
        for model, base in zip(config.list_models(), bases, strict=bool(bases)):
            if model.alias in closed:
                continue
            live = await settle(dsn, config, model, base, switch=self._switch)
            log.info("serving %s as %s", live, model.alias)
            # Once, so that a part that is started again does not choose otherwise.
            residents = config.deployment.most(per_tenant=model.learn.per_tenant)
            engine = await asyncio.to_thread(with_context, base, model.engine, residents=residents)
            place = replace(place, config=place.config.with_engine(model.alias, engine))
        write_running(self._home, config, place.url, self._file)
        return place

    async def _close(self, dsn: str, known: Mapping[str, Known]) -> dict[str, Match]:
        """Models that the terms do not let be loaded. Raises CannotStart."""
        config = self._config
        async with await psycopg.AsyncConnection.connect(dsn) as conn:
            closed = await find_closed(conn, config, known)
        check_closed(config, closed)
        return closed

    async def _unless_stopped(self, work: Coroutine[Any, Any, T]) -> T | None:
        """What ``work`` comes to; None where the service is stopped before."""
        working = asyncio.create_task(work)
        stopped = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if working.done():
            return working.result()
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return None

    async def _mind(self, role: str, place: Place) -> None:
        restarts = Restarts()
        clock = asyncio.get_running_loop().time
        while not self._stopping.is_set():
            began = clock()
            with Listener() as listener:
                process = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    "liveweights.app",
                    role,
                    str(listener.given),
                    stdin=asyncio.subprocess.PIPE,
                    pass_fds=(listener.given,),
                    env=yielding_environment(),
                    start_new_session=True,
                )
                listener.started()
                assert process.stdin is not None
                process.stdin.write(place.encode().encode() + b"\n")
                ended = asyncio.create_task(process.wait())
                stopped = asyncio.create_task(self._stopping.wait())
                patience = self._config.api.deaf_seconds
                deaf = asyncio.create_task(_wait_until_deaf(listener, patience))
                greeting = asyncio.create_task(self._greet(listener))
                await asyncio.wait({ended, stopped, deaf}, return_when=asyncio.FIRST_COMPLETED)
                stopped.cancel()
                deaf.cancel()
                greeting.cancel()
                if self._stopping.is_set():
                    await _end(process)
                    return
                if not ended.done():
                    log.error("%s has not answered for %g s; ending it", role, patience)
                    await _end(process, deadlines.DEAF)
                    await ended
                reason = listener.reason
                ready = None if listener.ready_at is None else clock() - listener.ready_at
            code = ended.result()
            pause = restarts.after(code, clock() - began, ready)
            if pause is None:
                why = explain(role, code, reason)
                self._gave_up = GaveUp(why, permanent=code == PERMANENT)
                self._stopping.set()
                return
            log.error("%s ended with %s; starting it again", role, describe(code))
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()

    async def _greet(self, listener: Listener) -> None:
        """Once the part answers: note where, and say so the first time."""
        while listener.ready_at is None or listener.address is None:
            await asyncio.sleep(0.1)
        url = url_of(*listener.address)
        write_running(self._home, self._config, url, self._file)
        if not self._welcomed:
            self._welcomed = True
            invitation = await self._invite()
            told = welcome(self._config, self._home, url, self._roles, invitation=invitation)
            print(clean(told, keep="\n"), flush=True)

    async def _invite(self) -> str | None:
        """The token by which the console's first admin is made, where somebody has to be."""
        config = self._config
        known = config.api.operator_key or config.oidc.issuer
        if self._dsn is None or known or config.gateway.upstream:
            return None
        async with await psycopg.AsyncConnection.connect(self._dsn) as conn:
            return await invite_first(conn)

    async def _mind_postgres(self, postgres: EmbeddedPostgres) -> None:
        while not self._stopping.is_set():
            pause = 0.5
            try:
                if not await asyncio.to_thread(postgres.is_running):
                    log.error("postgres is gone or going; starting it again")
                    await asyncio.to_thread(postgres.start)
                await asyncio.to_thread(postgres.trim_log)
            except START_FAILURES as error:  # a full disk, say: that passes
                log.error("postgres could not be started, which is tried again: %s", error)
                pause = LONGEST
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()


async def _wait_until_deaf(listener: Listener, patience: float) -> None:
    """Return once a part that was ready and listens has not answered for ``patience`` seconds."""
    while listener.ready_at is None or listener.address is None:
        await asyncio.sleep(1.0)
    await wait_until_deaf(listener.address, patience)


async def _end(process: asyncio.subprocess.Process, patience: float = deadlines.PATIENCE) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(patience):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
