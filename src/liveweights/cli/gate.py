"""``liveweights gate`` and ``liveweights suites``: is one checkpoint worse than another?"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from liveweights.cli.context import (
    HOME,
    ApiKey,
    Cases,
    CaseSeed,
    Concurrency,
    Home,
    Json,
    Model,
    Settings,
    Url,
    find_model,
    find_url,
    open_database,
    read_config,
    refuse,
    with_added,
)
from liveweights.cli.output import say, show, show_json
from liveweights.release.alias import AliasError
from liveweights.service_key import key_for
from liveweights.weights.registry import NotRegistered


def suites(as_json: Json = False) -> None:
    """List the built-in suites, and what each still needs here.

    Others: a folder with a suite.toml, package:NAME of an installed one, inspect:FILE@TASK.
    """
    from liveweights.gate.suites.catalogue import BUILT_IN  # brings aiohttp and more with it

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
    cases: Cases = 0,
    concurrency: Concurrency = 2,
    seed: CaseSeed = 0,
    keep: Annotated[
        Path | None, typer.Option(help="Folder for every answer; asked again, it goes on there.")
    ] = None,
    url: Url = "",
    key: ApiKey = "",
    model: Model = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Ask suites of two checkpoints of a running service, in turn, and compare.

    Ends with 0 if the candidate is better or not worse by more than the margin, with 1 if it is
    worse, with 3 if neither is shown; then it says how many cases it would take.
    """
    import aiohttp

    from liveweights.cli.bars import case_bars
    from liveweights.cli.comparison import compare
    from liveweights.gate.suites.suite import SuiteError

    settings = with_added(read_config(config, home), model, home)
    asked = find_model(settings, model)
    url = find_url(url, settings, home)
    chosen = msgspec.structs.replace(
        asked.gate,
        suites=tuple(suite),
        episodes=(),
        better=tuple(suite) if better else (),
        margins={} if margin is None else dict.fromkeys(suite, margin),
        suite_cases=cases,
        suite_concurrency=concurrency,
        suite_seed=seed,
    )
    where = home.resolve()
    bar = case_bars(hidden=as_json)
    tasks = {name: bar.add_task(name, total=None) for name in suite}
    try:
        with bar:
            findings = asyncio.run(
                compare(
                    lambda: open_database(settings, where, writes=True),
                    msgspec.structs.replace(asked, gate=chosen),
                    url,
                    candidate,
                    incumbent,
                    load_seconds=settings.cycle.load_seconds,
                    folder=keep,
                    key=key_for(url, where, settings.api.host) or key,
                    progress=lambda name, done, total: bar.update(
                        tasks[name], completed=done, total=total
                    ),
                )
            )
    except (SuiteError, LookupError, AliasError, NotRegistered) as error:
        raise refuse(str(error)) from error
    except aiohttp.ClientResponseError as error:
        raise refuse(f"{url} was asked for a minute: {error.message}") from error
    except (aiohttp.ClientError, TimeoutError) as error:
        raise refuse(f"{url} cannot be reached: {error}; `liveweights up` starts it") from error
    if as_json:
        show_json(findings)
    for finding in () if as_json else findings:
        say(f"{finding.standing}: {finding.reason}")
    standings = {finding.standing for finding in findings}
    raise typer.Exit(1 if "WORSE" in standings else 3 if "INCONCLUSIVE" in standings else 0)
