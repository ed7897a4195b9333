"""Two checkpoints of a running service, compared by suites whenever somebody asks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp

from liveweights.cycle import ledger
from liveweights.cycle.held_back import read_suite
from liveweights.gate.findings import Finding, judge
from liveweights.gate.suites.battery import Asking, Progress, run_battery
from liveweights.gate.suites.suite import Case
from liveweights.model_table import ModelSettings
from liveweights.release import aliases, deployments
from liveweights.release.alias import UnknownAlias
from liveweights.store.database import Connection
from liveweights.weights.registry import get

WARM = 4 * 3600.0
"""Seconds for which a checkpoint is held at most, should this process be killed."""
Open = Callable[[], AbstractAsyncContextManager[Connection]]
"""Connects to the service's database; called only where something has to be found or loaded."""


async def compare(
    open_database: Open,
    model: ModelSettings,
    url: str,
    candidate: str,
    incumbent: str = "",
    *,
    load_seconds: float,
    folder: Path | None = None,
    key: str = "",
    progress: Progress | None = None,
) -> tuple[Finding, ...]:
    """What ``model.gate.suites`` say of ``candidate`` beside ``incumbent``, or what is live.

    Both are checkpoint ids or aliases of the service at ``url``, which holds them meanwhile.

    Raises SuiteError; LookupError, AliasError or NotRegistered for a name that is not known or
    not loaded in time; aiohttp.ClientError or TimeoutError where the service stays away.
    """
    async with AsyncExitStack() as stack:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))
        names = (candidate, incumbent)
        absent = [name for name in names if name and not await _answers(session, url, name)]
        held_back: Sequence[Case] = ()
        if not incumbent or absent or "held-back" in model.gate.suites:
            conn = await stack.enter_async_context(open_database())
            incumbent = incumbent or (await aliases.read(conn, model.alias)).live
            for name in absent:
                await stack.enter_async_context(hold(conn, name))
                await _wait(session, url, name, load_seconds)
            if "held-back" in model.gate.suites:
                asked = [await _find(conn, name) for name in (candidate, incumbent)]
                held_back = await read_held_back(conn, model, asked)
            await conn.commit()  # asking takes long, and who archives or forgets must not wait
        asking = Asking(
            url=url,
            candidate=candidate,
            incumbent=incumbent,
            key=key,
            folder=folder,
            held_back=held_back,
            progress=progress,
        )
        measured = await run_battery(asking, model.gate)
        return judge(measured, model.gate.confidence, model.gate.power)


async def _answers(session: aiohttp.ClientSession, url: str, name: str) -> bool:
    async with session.get(f"{url.rstrip('/')}/v1/models/{name}") as response:
        if response.status in (401, 403):
            raise LookupError(f"{url} does not accept the key: set OPENAI_API_KEY, or --key")
        return response.status == 200


@asynccontextmanager
async def hold(conn: Connection, name: str) -> AsyncGenerator[None]:
    """Have every instance hold a checkpoint meanwhile. Who holds it already, such as a gate, is who
    lets it go. Raises NotRegistered."""
    await get(conn, name)
    is_others = await deployments.is_warm(conn, name)
    await deployments.keep_warm(conn, name, WARM)
    await conn.commit()
    try:
        yield
    finally:
        if not is_others:
            await deployments.let_go(conn, name)
        await conn.commit()


async def _wait(session: aiohttp.ClientSession, url: str, name: str, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not await _answers(session, url, name):
                await asyncio.sleep(0.5)
    except TimeoutError as error:
        raise LookupError(f"{name} was not loaded within {seconds:g} s") from error


async def _find(conn: Connection, name: str) -> str:
    """The checkpoint that answers under a name: an alias's, or the one of that id."""
    try:
        return (await aliases.read(conn, name)).live
    except UnknownAlias:
        return name


async def read_held_back(
    conn: Connection, model: ModelSettings, asked: Collection[str]
) -> list[Case]:
    """Cases of the rows that the last cycle of ``model`` held back, which the checkpoints that are
    ``asked`` can all answer. Raises LookupError."""
    cycle = await ledger.last_held_back(conn, model.alias)
    if cycle is None:
        raise LookupError(f"no cycle of {model.alias!r} has held rows back yet")
    return await read_suite(
        conn,
        model.alias,
        cycle,
        asked,
        share=model.learn.held_back_share,
        rewards=model.rewards,
        template=model.template,
    )
