"""The processes that answer requests: the API's and the gateway's."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import msgspec
from starlette.types import ASGIApp, Receive, Scope, Send

from liveweights.agent.shed import Shed
from liveweights.agent.tool import Agent
from liveweights.app.lineup import Lineup
from liveweights.app.place import Place
from liveweights.app.report import Report
from liveweights.app.sampler import keep_sampling
from liveweights.app.sources import make_sources
from liveweights.app.start import make_provider
from liveweights.app.terms import Lookout, make_terms
from liveweights.app.wiring import open_limiter, open_recorder, open_tariffs
from liveweights.config import Config
from liveweights.console.entry import Entry
from liveweights.console.models import model_routes
from liveweights.console.pages import Console
from liveweights.console.sources import Sources
from liveweights.console.subject import Known, Subject, know_nothing
from liveweights.cycle.status import read_status
from liveweights.http.authentication import Authenticator, for_readers
from liveweights.http.errors import ApiError
from liveweights.http.glance import Glance
from liveweights.http.routes import Route, Routes
from liveweights.http.server import Server, bind
from liveweights.http.wire import read_query, reply
from liveweights.insight.billing import billing_routes
from liveweights.insight.endpoint import insight_routes
from liveweights.insight.lookups import lookup_routes
from liveweights.insight.worths import Worths
from liveweights.meter.directory import Directory
from liveweights.meter.ledger_days import keep_closing
from liveweights.record.active_users import keep_month
from liveweights.record.conversations import ConversationStore
from liveweights.record.owners import OwnerStore
from liveweights.record.responses import ResponseStore
from liveweights.record.shadow import keep_shadow
from liveweights.record.shadow_answer import ShadowAnswer
from liveweights.release.alias import UnknownAlias
from liveweights.serve.admin.routes import admin_routes
from liveweights.serve.api.app import (
    create_app,
    make_authenticator,
    make_keys,
    make_slots,
)
from liveweights.serve.api.models import Listing
from liveweights.serve.api.shadow import Shadow
from liveweights.serve.gateway.access import Access
from liveweights.serve.gateway.app import create_gateway
from liveweights.serve.gateway.counts import Count, find_counter
from liveweights.serve.gateway.upstream import Upstream
from liveweights.serve.models import Models
from liveweights.store.database import Pool, open_pool
from liveweights.store.upkeep import keep_up
from liveweights.terms.current import kept
from liveweights.weights.models import find


def status_routes(
    pool: Pool,
    home: Path,
    authenticator: Authenticator,
    *,
    now: Callable[[], Config],
) -> Routes:
    """``GET /status``: where the circle of a model stands; of the first one, without
    ``?model=NAME``. Hosted models have none. ``now`` gives the settings with the models that there
    are when it is asked."""

    async def look(name: str) -> bytes:
        try:
            async with pool.connection() as conn:
                status = await read_status(conn, now().for_worker(name), home)
        except UnknownAlias as error:
            raise ApiError(404, f"{error}", code="not_found") from None
        return msgspec.json.encode({**status, "models": _local(now())})

    glances: dict[str, Glance[bytes]] = {}

    async def status(scope: Scope, receive: Receive, send: Send) -> None:
        config = now()
        names = _local(config)
        name = read_query(scope, ("model",)).get("model", names[0] if names else "")
        if (name in config.names() and name not in names) or not names:
            message = "A hosted model has no base here, and so no cycles whose state could be told."
            raise ApiError(404, message, code="not_found")
        if name not in names:
            raise ApiError(404, f"No model is called {name[:128]!r}.", code="not_found")
        if name not in glances:
            glances[name] = Glance(partial(look, name))
        await reply(send, 200, await glances[name]())

    return [Route("GET", "/status", for_readers(authenticator, status))]


def _local(config: Config) -> list[str]:
    hosted = {model.alias for model in config.list_hosted()}
    return [name for name in config.names() if name not in hosted]


def describe_subject(
    config: Config, home: Path, sources: Sources, known: Known = know_nothing
) -> Subject:
    """What the console is about."""
    return Subject(
        workers={model.alias: config.for_worker(model.alias) for model in config.list_models()},
        hosted=[model.alias for model in config.list_hosted()],
        home=home,
        billing=config.billing,
        databases=home / "databases",
        sources=sources,
        known=known,
    )


async def run_api(place: Place, report: Report) -> None:
    """Serve until told to stop; what was admitted is answered first."""
    config = place.config
    sockets = bind(config.api.host, config.api.port)
    cache = config.cache_folder()
    bases = [await asyncio.to_thread(find, model.base, cache) for model in place.list_models()]
    async with AsyncExitStack() as stack:
        pool = await open_pool(place.dsn)
        stack.push_async_callback(pool.close)
        instance = f"{socket.gethostname()}:{config.api.port}"
        terms = await stack.enter_async_context(kept(make_terms(config, {}, place.closed), pool))
        tariffs = await open_tariffs(stack, pool)
        lookout = Lookout(pool, terms, tariffs)
        lineup = await stack.enter_async_context(
            Lineup(pool, place, instance=instance, bases=bases, lookout=lookout)
        )
        models, hosted = lineup.models, lineup.hosted
        listing = Listing(
            models,
            hosted,
            terms,
            profiles=lookout.profiles,
            standings=lookout.standings,
            tariffs=tariffs,
        )

        async def keep(answer: ShadowAnswer) -> None:
            async with pool.connection() as conn:
                await keep_shadow(conn, answer)

        shadow = await stack.enter_async_context(Shadow(models, keep))
        # The first to be closed: nothing else may use up its time.
        writer = await open_recorder(stack, pool, place, "api")
        slots = make_slots(config.api)
        directory = Directory(pool, place.dsn, make_keys(config.api))
        await stack.enter_async_context(directory)
        authenticator = make_authenticator(config.api, place.key, keys=directory.keys)
        limiter = await open_limiter(stack, pool, place, directory, tariffs)
        responses = ResponseStore(pool)
        entry = Entry(pool, authenticator, config.api, provider=make_provider(config))
        sources = make_sources(lambda: lineup.config, place.home)

        def now() -> Subject:
            return describe_subject(lineup.config, place.home, sources, listing.read)

        def worths() -> Worths:
            return Worths(lineup.config.rewards, lineup.config.rewards_by_alias())

        console = Console(pool, now, entry, writer)
        app = create_app(
            models,
            writer,
            config.api,
            hosted=hosted,
            terms=terms,
            listing=listing,
            shadow=shadow,
            responses=responses,
            slots=slots,
            authenticator=authenticator,
            limiter=limiter,
            agent=make_agent(pool, place),
            conversations=ConversationStore(pool),
            pages=[
                *billing_routes(pool, authenticator, limiter),
                *insight_routes(pool, authenticator, limiter, worths),
                *lookup_routes(pool, authenticator, limiter),
                *console.routes(),
                *model_routes(listing, entry),
                *status_routes(pool, place.home, authenticator, now=lambda: lineup.config),
                *admin_routes(pool, authenticator),
            ],
        )
        for work in (
            keep_up(pool, metric_days=config.record.metric_days),
            keep_closing(pool),
            keep_month(pool),
            responses.keep_expiring(config.record.response_days),
            keep_sampling(pool, instance, slots, models),
            _tell_when_ready(models, report),
            lookout.run(),
        ):
            stack.callback(asyncio.create_task(work).cancel)
        await _listen(app, config, sockets, report, leave=console.feed.close)


def make_agent(pool: Pool, place: Place) -> Agent:
    """The tools that models may use here."""
    settings, folder = place.config.agent, place.home / "databases"
    return Agent(Shed(settings, pool, folder, place.config.databases), settings)


async def run_gateway(place: Place, report: Report) -> None:
    """Pass on and record until told to stop; what was begun is finished first."""
    config = place.config
    count = find_counter(config.gateway.tokenizer)
    sockets = bind(config.api.host, config.api.port)
    async with AsyncExitStack() as stack:
        app = await open_gateway(stack, place, count)
        report.ready()
        # The upstream's own headers are passed on.
        await _listen(app, config, sockets, report, signed=False)


async def open_gateway(stack: AsyncExitStack, place: Place, count: Count) -> ASGIApp:
    """The gateway of the settings, which ends with ``stack``."""
    config = place.config
    pool = await open_pool(place.dsn)
    stack.push_async_callback(pool.close)
    upstream = await stack.enter_async_context(Upstream(config.gateway))
    owners = await stack.enter_async_context(OwnerStore(pool, upstream.address))
    writer = await open_recorder(stack, pool, place, "gateway")
    for work in (keep_closing(pool), keep_month(pool)):
        stack.callback(asyncio.create_task(work).cancel)
    directory = Directory(pool, place.dsn, make_keys(config.api))
    await stack.enter_async_context(directory)
    authenticator = make_authenticator(config.api, keys=directory.keys)
    tariffs = await open_tariffs(stack, pool)
    limiter = await open_limiter(stack, pool, place, directory, tariffs)
    return create_gateway(
        upstream,
        writer,
        config.api,
        key=config.gateway.upstream_key(),
        access=Access(config.gateway, owners),
        count=count,
        authenticator=authenticator,
        limiter=limiter,
        pages=[
            *billing_routes(pool, authenticator, limiter),
            *admin_routes(pool, authenticator),
        ],
    )


async def _listen(
    app: ASGIApp,
    config: Config,
    sockets: list[socket.socket],
    report: Report,
    *,
    signed: bool = True,
    leave: Callable[[], None] | None = None,
) -> None:
    report.listens(*sockets[0].getsockname()[:2])
    server = Server(app, config.api, signed=signed)
    # What has been imported and opened so far stays: the collector need not look at it again.
    gc.collect()
    gc.freeze()
    await server.serve_and_drain(sockets, leave=leave)


async def _tell_when_ready(models: Models, report: Report) -> None:
    """The API is ready when it has a checkpoint that answers, or has none to wait for."""
    while any(models) and not models.routes():
        await asyncio.sleep(0.2)
    report.ready()
