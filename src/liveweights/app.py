"""Where the parts are wired together: the API's process, the worker's, and who minds both."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import psycopg
import uvloop
from starlette.types import ASGIApp, Receive, Scope, Send

from liveweights import deadlines
from liveweights.catalog.template import ChatTemplate, TemplateRefusal, has_template
from liveweights.config import Config
from liveweights.cycle.status import read_status
from liveweights.engines.context import with_context
from liveweights.engines.llama.engine import LlamaEngine
from liveweights.engines.protocol import Engine, EngineError
from liveweights.file_modes import close_files, make_home
from liveweights.hearing import wait_until_deaf
from liveweights.holder import Held, Holder, hold_home, read_id
from liveweights.http.authentication import Authenticator, for_readers
from liveweights.http.errors import ApiError
from liveweights.http.glance import Glance
from liveweights.http.routes import Route, Routes
from liveweights.http.server import PortTaken, Server, bind
from liveweights.http.wire import reply
from liveweights.insight.endpoint import insight_routes
from liveweights.machine import yielding_environment
from liveweights.record.owners import OwnerStore
from liveweights.record.responses import ResponseStore
from liveweights.record.shadow import ShadowAnswer, keep_shadow
from liveweights.record.spill import Spill
from liveweights.record.writer import Writer
from liveweights.relay import check_relay
from liveweights.release import aliases
from liveweights.release.console import release_routes
from liveweights.release.deployer import Deployer
from liveweights.report import Listener, Report
from liveweights.restarts import AWAY, PERMANENT, GaveUp, Restarts, describe, explain
from liveweights.serve.api.app import create_app, make_authenticator, make_limiter, make_slots
from liveweights.serve.api.sampler import keep_sampling
from liveweights.serve.api.shadow import Shadow
from liveweights.serve.gateway.access import Access
from liveweights.serve.gateway.app import create_gateway
from liveweights.serve.gateway.counts import find_counter
from liveweights.serve.gateway.upstream import Upstream
from liveweights.serve.router import Router
from liveweights.service_key import make_key
from liveweights.start import check_database, check_port, find_base, settle
from liveweights.store.database import Pool, open_pool
from liveweights.store.embedded import EmbeddedPostgres
from liveweights.store.migrate import migrate
from liveweights.store.upkeep import keep_up
from liveweights.terminal import start_logging
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import HASHES
from liveweights.weights.models import ModelNotFound, find, load_tokenizer
from liveweights.weights.signing import check

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Place:
    """A running service's settings, home folder and database, and the key by which its processes
    know each other."""

    config: Config
    home: Path
    dsn: str
    key: str = ""

    def encode(self) -> str:
        parts = {
            "config": self.config,
            "home": str(self.home),
            "dsn": self.dsn,
            "key": self.key,
        }
        return msgspec.json.encode(parts).decode()

    @classmethod
    def decode(cls, text: str) -> Place:
        class Parts(msgspec.Struct):
            config: Config
            home: str
            dsn: str
            key: str

        parts = msgspec.json.decode(text, type=Parts)
        return cls(parts.config, Path(parts.home), parts.dsn, parts.key)


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


def make_engine(base: Checkpoint, config: Config) -> Engine:
    # What brings torch is imported where it is needed: the supervisor and the gateway do without.
    if config.engine.kind == "llama":
        return LlamaEngine(base, config.cache_folder(), config.engine)
    if config.engine.kind == "vllm":
        from liveweights.engines.vllm.engine import VllmEngine

        return VllmEngine(base, config.engine, config.vllm)
    if config.engine.kind == "openai":
        from liveweights.engines.openai import OpenAIEngine

        return OpenAIEngine(base, config.engine, config.openai)
    if config.engine.kind == "openvino":
        from liveweights.engines.openvino.engine import OpenVinoEngine

        return OpenVinoEngine(base, config.cache_folder(), config.engine)
    from liveweights.engines.torch.engine import TorchEngine

    return TorchEngine(base, config.cache_folder(), config.engine)


def status_routes(pool: Pool, place: Place, authenticator: Authenticator) -> Routes:
    """``GET /status``: where the circle stands."""

    async def look() -> bytes:
        try:
            async with pool.connection() as conn:
                found = await read_status(conn, place.config.alias, place.home)
        except aliases.UnknownAlias as error:
            raise ApiError(404, f"{error}", code="not_found") from None
        return msgspec.json.encode(found)

    glance = Glance(look)

    async def status(scope: Scope, receive: Receive, send: Send) -> None:
        await reply(send, 200, await glance())

    return [Route("GET", "/status", for_readers(authenticator, status))]


async def run_api(place: Place, report: Report) -> None:
    """Serve until told to stop; what was admitted is answered first."""
    config = place.config
    sockets = bind(config.api.host, config.api.port)
    base = await asyncio.to_thread(find, config.model, config.cache_folder())
    async with AsyncExitStack() as stack:
        pool = await open_pool(place.dsn)
        stack.push_async_callback(pool.close)
        engine = make_engine(base, config)
        stack.push_async_callback(engine.close)
        router = Router()
        instance = f"{socket.gethostname()}:{config.api.port}"
        await stack.enter_async_context(
            Deployer(
                pool,
                place.dsn,
                engine,
                router,
                instance,
                settings=config.deployment,
                check=partial(
                    check,
                    public=_path(config.signing.public_key),
                    known=config.cache_folder() / HASHES,
                ),
                cache=config.cache_folder(),
                base=base,
            )
        )
        tokenizer = cast(Any, load_tokenizer(base))
        template = await _open_template(stack, tokenizer, config)

        async def keep(answer: ShadowAnswer) -> None:
            async with pool.connection() as conn:
                await keep_shadow(conn, answer)

        shadow = await stack.enter_async_context(Shadow(engine, router, keep))
        # The first to be closed: nothing else may use up its time.
        writer = await _open_writer(stack, pool, place, "api")
        slots = make_slots(config.api)
        authenticator = make_authenticator(config.api, place.key)
        limiter = make_limiter(config.api)
        responses = ResponseStore(pool)
        app = create_app(
            engine,
            writer,
            router,
            tokenizer,
            config.api,
            template=template,
            shadow=shadow,
            responses=responses,
            slots=slots,
            authenticator=authenticator,
            limiter=limiter,
            pages=[
                *insight_routes(pool, authenticator, limiter, config.rewards),
                *release_routes(pool, config, authenticator),
                *status_routes(pool, place, authenticator),
            ],
        )
        for work in (
            keep_up(pool, metric_days=config.record.metric_days),
            responses.keep_expiring(config.record.response_days),
            keep_sampling(pool, instance, slots, engine, router),
            _tell_when_ready(router, report),
        ):
            stack.callback(asyncio.create_task(work).cancel)
        await _listen(app, config, sockets, report)


async def _open_template(
    stack: AsyncExitStack, tokenizer: Any, config: Config
) -> ChatTemplate | None:
    """The model's template, warm; None where there is none that can be taken."""
    if not has_template(tokenizer):
        return None
    try:
        template = ChatTemplate(tokenizer, config.template)
        stack.push_async_callback(template.close)
        await template.start()
    except TemplateRefusal as error:
        # Completions go on. A base that nobody could chat with was refused when it was checked.
        log.error("no chats are answered: the model's chat template %s", error)
        return None
    return template


async def _open_writer(stack: AsyncExitStack, pool: Pool, place: Place, role: str) -> Writer:
    """The role's own writer; what it leaves on disk, the next one of the role writes."""
    spill = Spill(place.home / "spill" / role, place.config.record.spill_bytes)
    stack.callback(spill.close)
    settings = place.config.record
    writer = Writer(
        pool,
        close_timeout=deadlines.RECORD,
        late_after=settings.late_seconds,
        most_feedback=settings.feedback_per_answer,
        prices=place.config.prices,
        spill=spill,
    )
    return await stack.enter_async_context(writer)


async def run_gateway(place: Place, report: Report) -> None:
    """Pass on and record until told to stop; what was begun is finished first."""
    config = place.config
    count = find_counter(config.gateway.tokenizer)
    sockets = bind(config.api.host, config.api.port)
    async with AsyncExitStack() as stack:
        pool = await open_pool(place.dsn)
        stack.push_async_callback(pool.close)
        upstream = await stack.enter_async_context(Upstream(config.gateway))
        owners = await stack.enter_async_context(OwnerStore(pool, upstream.address))
        access = Access(config.gateway, owners)
        key = config.gateway.upstream_key()
        writer = await _open_writer(stack, pool, place, "gateway")
        app = create_gateway(upstream, writer, config.api, key=key, access=access, count=count)
        report.ready()
        # The upstream's own headers are passed on.
        await _listen(app, config, sockets, report, signed=False)


async def _listen(
    app: ASGIApp,
    config: Config,
    sockets: list[socket.socket],
    report: Report,
    *,
    signed: bool = True,
) -> None:
    report.listens(*sockets[0].getsockname()[:2])
    server = Server(app, config.api, signed=signed)
    # What has been imported and opened so far stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    await server.serve_and_drain(sockets)


async def _tell_when_ready(router: Router, report: Report) -> None:
    """The API is ready when it has a checkpoint that answers."""
    while not router.routes():
        await asyncio.sleep(0.2)
    report.ready()


async def run_worker(place: Place, report: Report) -> None:
    from liveweights.cycle.worker import Worker
    from liveweights.record.archive import keep_archiving

    pool = await open_pool(place.dsn)
    api, record = place.config.api, place.config.record
    archiving = asyncio.create_task(keep_archiving(pool, record, record.archive_folder(place.home)))
    url = f"http://{api.host}:{api.port}"
    owner = Holder.me(read_id(place.home)).encode()
    worker = Worker(pool, place.config, place.home, url, place.key, owner)
    report.ready()
    try:
        await worker.run()
    finally:
        archiving.cancel()
        await worker.close()
        await pool.close()


class Supervisor:
    """Keeps Postgres, the API and the worker alive; each may be killed at any time."""

    def __init__(
        self,
        config: Config,
        home: Path,
        roles: Sequence[str] = ("api", "worker"),
        *,
        switch: bool = False,
    ) -> None:
        self._config = config
        self._home = home
        self._roles = roles
        self._switch = switch
        self._stopping = asyncio.Event()
        self._postgres: EmbeddedPostgres | None = None
        self._gave_up: str | None = None

    async def run(self) -> None:
        """Return once stopped by SIGINT or SIGTERM.

        Whatever can be seen before anything runs is looked at first, and raised by the one that
        looks (see ``start``). ``switch`` lets the alias go over to the model's base. Raises
        GaveUp, with everything ended, when a part does not stay alive.
        """
        check_relay(self._config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stopping.set)
        make_home(self._home)
        with hold_home(self._home) as holder:
            await self._run(holder)
        if self._gave_up is not None:
            raise GaveUp(self._gave_up)

    async def _run(self, holder: Holder) -> None:
        config = self._config
        await check_port(config.api.host, config.api.port)
        dsn = config.database_url()
        if dsn is not None:
            await check_database(dsn)
        base: Checkpoint | None = None
        if upstream := config.gateway.upstream:
            await asyncio.to_thread(find_counter, config.gateway.tokenizer)
            log.info("passing requests on to %s", upstream)
        elif (base := await self._unless_stopped(find_base(config))) is None:
            return
        try:
            if dsn is None:
                self._postgres = EmbeddedPostgres(self._home / "postgres")
                dsn = await asyncio.to_thread(self._postgres.start)
            await asyncio.to_thread(migrate, dsn)
            place = Place(config, self._home, dsn, make_key(self._home))
            if base is not None:
                live = await settle(dsn, config, base, holder, self._roles, self._switch)
                log.info("serving %s as %s", live, config.alias)
                # Once, so that a part that is started again does not choose otherwise.
                residents = config.deployment.max_resident
                engine = await asyncio.to_thread(
                    with_context, base, config.engine, residents=residents
                )
                place = replace(place, config=msgspec.structs.replace(config, engine=engine))
            minders = [asyncio.create_task(self._mind(role, place)) for role in self._roles]
            if self._postgres:
                minders.append(asyncio.create_task(self._mind_postgres(self._postgres)))
            await self._stopping.wait()
            await asyncio.gather(*minders)
        finally:
            if self._postgres:
                await asyncio.to_thread(self._postgres.stop)

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
                await asyncio.wait({ended, stopped, deaf}, return_when=asyncio.FIRST_COMPLETED)
                stopped.cancel()
                deaf.cancel()
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
                self._gave_up = explain(role, code, reason)
                self._stopping.set()
                return
            log.error("%s ended with %s; starting it again", role, describe(code))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), pause)

    async def _mind_postgres(self, postgres: EmbeddedPostgres) -> None:
        while not self._stopping.is_set():
            if not await asyncio.to_thread(postgres.is_running):
                log.error("postgres is gone or going; starting it again")
                await asyncio.to_thread(postgres.start)
            await asyncio.to_thread(postgres.trim_log)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), 0.5)


async def _wait_until_deaf(listener: Listener, patience: float) -> None:
    """Return once a part that was ready and listens has not answered for ``patience`` seconds."""
    while listener.ready_at is None or listener.address is None:
        await asyncio.sleep(1.0)
    await wait_until_deaf(listener.address, patience)


async def _end(process: asyncio.subprocess.Process, patience: float = deadlines.PATIENCE) -> None:
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), patience)
    except TimeoutError:
        process.kill()
        await process.wait()


async def _until_orphaned(work: Any) -> None:
    """Run ``work`` until it ends, SIGTERM, or the death of the parent (its end of stdin)."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            task.cancel()

    loop.add_reader(0, orphaned)
    loop.add_signal_handler(signal.SIGTERM, task.cancel)
    with suppress(asyncio.CancelledError):
        await task


async def _work(role: str, place: Place, report: Report) -> None:
    if role == "worker":
        await run_worker(place, report)
    else:
        await {"api": run_api, "gateway": run_gateway}[role](place, report)


def main(arguments: Sequence[str]) -> int:
    """``python -m liveweights.app ROLE DESCRIPTOR`` with the place as one line on standard input.

    What it tells the supervisor through the descriptor, and its exit codes, are those of
    ``report`` and ``restarts``.
    """
    close_files()
    start_logging()
    role, report = arguments[0], Report(int(arguments[1]))
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return 1
        line += byte
    place = Place.decode(line.decode())
    try:
        # uvloop takes a third less CPU for passing bytes on.
        uvloop.run(_until_orphaned(_work(role, place, report)))
    except (ModelNotFound, Held) as error:
        return _end_with(report, error, PERMANENT)
    except psycopg.OperationalError as error:
        return _end_with(report, error, AWAY)
    except (EngineError, PortTaken) as error:
        return _end_with(report, error, 1)
    except Exception as error:
        report.reason(f"{type(error).__name__}: {error}")
        raise
    return 0


def _end_with(report: Report, error: Exception, code: int) -> int:
    """One sentence, where more would not help."""
    log.error("%s", error)
    report.reason(str(error))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
