"""``liveweights status`` and ``liveweights cycle``: where the circle stands."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
import typer

from liveweights import bounds
from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Model,
    Settings,
    find_model,
    query,
    read_config,
)
from liveweights.cli.evidence import follow_cycle, show_report
from liveweights.cli.output import say, show, show_json
from liveweights.cycle import ledger
from liveweights.cycle.report import read_report
from liveweights.cycle.status import read_status
from liveweights.store.database import Connection


def status(
    model: Model = None, home: Home = HOME, config: Settings = None, as_json: Json = False
) -> None:
    """Where the circle stands: what is live, the open cycle, the last cycles."""
    settings = read_config(config)
    alias = find_model(settings, model).alias
    status = query(settings, home, lambda conn: read_status(conn, alias, home))
    if as_json:
        show_json(status)
        return
    say(f"{status['alias']}: {status['live']} is live, canary {status['canary'] or 'none'}")
    counts = "{generations} generations, {feedback} rows of feedback, {releases} releases"
    say(counts.format(**status))
    show(status["cycles"], ("id", "state", "outcome", "candidate", "reason"), False)


def cycle(
    now: Annotated[bool, typer.Option("--now", help="Start a cycle if none is open.")] = False,
    number: Annotated[
        int | None,
        typer.Option(
            "--show",
            min=1,
            max=bounds.COUNT,
            metavar="N",
            help="What cycle N learnt, and from what.",
        ),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show the open cycle's progress until it ends.")
    ] = False,
    model: Model = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Show the open cycle, or start one now; the running worker takes it from there."""
    settings = read_config(config)
    chosen = find_model(settings, model)
    alias = chosen.alias
    if number is not None:
        report = query(settings, home, lambda conn: read_report(conn, alias, number))
        show_json(report) if as_json else show_report(report)
        return

    async def ask(conn: Connection) -> dict[str, Any] | None:
        if now and await ledger.current(conn, alias) is None:
            await ledger.begin(conn, alias, msgspec.to_builtins(chosen.learn))
        return (await read_status(conn, alias, home))["cycle"]

    cycle = query(settings, home, ask)
    if follow and cycle is not None and not as_json:
        follow_cycle(settings, home, alias)
    elif as_json:
        show_json(cycle)
    elif cycle is None:
        say("no cycle is open; `liveweights cycle --now` starts one")
    else:
        say(f"cycle {cycle['id']} is {cycle['state']}, candidate {cycle['candidate']}")
