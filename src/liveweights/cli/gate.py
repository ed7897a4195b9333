"""``liveweights gate`` and ``liveweights suites``: is one checkpoint worse than another?"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Annotated

import aiohttp
import msgspec
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from liveweights.cli.context import HOME, Home, Json, Settings, open_database, read_config, refuse
from liveweights.cli.output import show, show_json
from liveweights.config import Config
from liveweights.cycle import ledger
from liveweights.gate.findings import Finding
from liveweights.gate.suites.battery import run_battery
from liveweights.gate.suites.catalogue import BUILT_IN
from liveweights.gate.suites.suite import SuiteError
from liveweights.record.window import Example, read
from liveweights.release import aliases, deployments
from liveweights.release.aliases import AliasError
from liveweights.release.registry import NotRegistered, get
from liveweights.store.database import Connection

URL = "http://127.0.0.1:8090"
WARM = 4 * 3600.0
"""Seconds for which a checkpoint is held at most, should this command be killed."""


def suites(as_json: Json = False) -> None:
    """List the built-in suites, and what each still needs here.

    Others: a folder with a suite.toml, package:NAME of an installed one, inspect:FILE@TASK.
    """
    rows = [
        msgspec.to_builtins(card) | {"ready": (lack := missing()) is None, "needs": lack}
        for card, missing in BUILT_IN.values()
    ]
    columns = ("name", "title", "version", "harness", "samples", "seconds", "margin", "licence")
    show(rows, (*columns, "needs"), as_json)


def gate(
    suite: Annotated[list[str], typer.Argument(help="Names; `liveweights suites` lists them.")],
    candidate: Annotated[str, typer.Option(help="Checkpoint id or alias to judge.")],
    incumbent: Annotated[
        str, typer.Option(help="What it is compared with; default: what is live.")
    ] = "",
    margin: Annotated[
        float | None,
        typer.Option(
            min=0.0001, max=0.9999, help="Loss of mean score that is no harm; default: the card's."
        ),
    ] = None,
    better: Annotated[bool, typer.Option("--better", help="It must be better.")] = False,
    cases: Annotated[int, typer.Option(min=0, help="Most cases per suite; 0: all.")] = 0,
    concurrency: Annotated[int, typer.Option(min=1, help="Cases at the same time.")] = 2,
    seed: Annotated[int, typer.Option(min=0, help="What the cases' seeds are made from.")] = 0,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for every answer; asked again, it goes on there.")
    ] = None,
    url: Annotated[str, typer.Option(help="Of the running API.")] = URL,
    key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="API key.")] = "",
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Ask suites of two checkpoints of a running service, in turn, and compare.

    Ends with 0 if the candidate is better or not worse by more than the margin, with 1 if it is
    worse, with 3 if neither is shown; then it says how many cases it would take.
    """
    settings = read_config(config)
    chosen = msgspec.structs.replace(
        settings.gate,
        suites=tuple(suite),
        better=tuple(suite) if better else (),
        margins={} if margin is None else dict.fromkeys(suite, margin),
        suite_cases=cases,
        suite_concurrency=concurrency,
        suite_seed=seed,
    )

    async def run() -> tuple[Finding, ...]:
        async with AsyncExitStack() as stack:
            bar = stack.enter_context(_progress(as_json))
            tasks = {name: bar.add_task(name, total=None) for name in suite}
            names, examples = await _prepare(
                stack, settings, home, url, key, (candidate, incumbent), "held-back" in suite
            )
            return await run_battery(
                url,
                *names,
                chosen,
                folder=keep,
                examples=examples,
                key=key,
                progress=lambda name, done, total: bar.update(
                    tasks[name], completed=done, total=total
                ),
            )

    try:
        findings = asyncio.run(run())
    except (SuiteError, LookupError, AliasError, NotRegistered) as error:
        raise refuse(str(error)) from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise refuse(f"{url} cannot be reached: {error}; `liveweights up` starts it") from error
    if as_json:
        show_json(findings)
    for finding in () if as_json else findings:
        typer.echo(f"{finding.standing}: {finding.reason}")
    standings = {finding.standing for finding in findings}
    raise typer.Exit(1 if "WORSE" in standings else 3 if "INCONCLUSIVE" in standings else 0)


async def _prepare(
    stack: AsyncExitStack,
    settings: Config,
    home: Path,
    url: str,
    key: str,
    names: tuple[str, str],
    held_back: bool,
) -> tuple[tuple[str, str], list[Example]]:
    """Both names, held by the service for as long as ``stack`` lasts, and the held-back rows.

    The service's database is opened only where something has to be found or loaded.
    """
    headers = {"authorization": f"Bearer {key}"} if key else {}
    session = await stack.enter_async_context(aiohttp.ClientSession(headers=headers))
    candidate, incumbent = names
    absent = [name for name in names if name and not await _answers(session, url, name)]
    if incumbent and not absent and not held_back:
        return (candidate, incumbent), []
    where = await asyncio.to_thread(home.resolve)
    conn = await stack.enter_async_context(open_database(settings, where))
    incumbent = incumbent or (await aliases.read(conn, settings.alias)).live
    for name in absent:
        await get(conn, name)
        await deployments.keep_warm(conn, name, WARM)
        await conn.commit()
        stack.push_async_callback(_let_go, conn, name)
        await _wait(session, url, name, settings.cycle.load_seconds)
    examples: list[Example] = []
    if held_back:
        cycle = await ledger.last_held_back(conn, settings.alias)
        if cycle is None:
            raise LookupError(f"no cycle of {settings.alias!r} has held rows back yet")
        examples = await read(conn, cycle, "held_back")
    return (candidate, incumbent), examples


async def _answers(session: aiohttp.ClientSession, url: str, name: str) -> bool:
    async with session.get(f"{url.rstrip('/')}/v1/models/{name}") as response:
        if response.status in (401, 403):
            raise LookupError(f"{url} does not accept the key: set OPENAI_API_KEY, or --key")
        return response.status == 200


async def _wait(session: aiohttp.ClientSession, url: str, name: str, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            while not await _answers(session, url, name):
                await asyncio.sleep(0.5)
    except TimeoutError as error:
        raise LookupError(f"{name} was not loaded within {seconds:g} s") from error


async def _let_go(conn: Connection, name: str) -> None:
    await deployments.let_go(conn, name)
    await conn.commit()


def _progress(quiet: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=quiet,
    )
