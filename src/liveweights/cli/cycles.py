"""``liveweights status`` and ``liveweights cycle``: where the circle stands."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated

import typer

from liveweights import bounds
from liveweights.access.audit import COMMAND, Event
from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Model,
    Settings,
    change,
    find_model,
    query,
    read_config,
    refuse,
    with_added,
)
from liveweights.cli.evidence import show_report
from liveweights.cli.follow import describe, follow_cycle, tell_idle
from liveweights.cli.output import say, show, show_json
from liveweights.cycle import ledger
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.next_turn import begin_now
from liveweights.cycle.pauses import Pause, pause, resume
from liveweights.cycle.report import read_report
from liveweights.cycle.settings import WorkerSettings
from liveweights.cycle.status import read_status
from liveweights.store.database import Connection


def status(
    model: Model = None, home: Home = HOME, config: Settings = None, as_json: Json = False
) -> None:
    """Where the circle stands: what is live, the open cycle, the last cycles."""
    settings = with_added(read_config(config, home), model, home)
    worker = settings.for_worker(find_model(settings, model).alias)
    status = query(settings, home, lambda conn: read_status(conn, worker, home))
    if as_json:
        show_json(status)
        return
    say(f"{status['alias']}: {status['live']} is live, canary {status['canary'] or 'none'}")
    counts = "{generations} generations, {feedback} rows of feedback, {releases} releases"
    say(counts.format(**status))
    if status["cycle"]:
        say(f"{describe(status['cycle'])}; `liveweights cycle --follow` shows it as it goes")
    else:
        say(_wait(status["next"]))
    if status["worker"] is None:
        say(tell_idle(status["alias"]))
    if status["paused"]:
        say(_tell_pause(status["paused"]))
    show(status["cycles"], ("id", "state", "standing", "candidate", "reason"), False)
    if status["tenants"]:
        say("what tenants have of their own; `liveweights status --model ALIAS` shows one:")
        show(status["tenants"], ("tenant", "alias", "live", "canary"), False)


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
    cancel: Annotated[
        str | None,
        typer.Option(
            metavar="REASON",
            help="End the open cycle, and its canary, for this reason; what it read is unread"
            " again.",
        ),
    ] = None,
    hold: Annotated[
        str | None,
        typer.Option(
            "--pause",
            metavar="REASON",
            help="Begin no cycle, and let the open one go no further than its step, until --resume;"
            " a canary is watched on.",
        ),
    ] = None,
    go_on: Annotated[bool, typer.Option("--resume", help="End a pause.")] = False,
    model: Model = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Show the open cycle, start one now, end it, or pause learning; the running worker takes it
    from there. --follow ends with status 3 where no worker runs."""
    settings = with_added(read_config(config, home), model, home)
    alias = find_model(settings, model).alias
    worker = settings.for_worker(alias)
    if number is not None:
        report = query(settings, home, lambda conn: read_report(conn, alias, number))
        show_json(report) if as_json else show_report(report)
        return

    if cancel is not None:
        if not cancel.strip():
            raise refuse("--cancel needs a reason: it is kept with the cycle")
        ended = change(settings, home, lambda conn: _cancel(conn, alias, cancel))
        show_json(ended) if as_json else say(f"cycle {ended.id} is cancelled: {ended.reason}")
        return

    if hold is not None and go_on:
        raise refuse("--pause or --resume, not both")
    if hold is not None or go_on:
        paused = change(settings, home, lambda conn: _pause(conn, alias, None if go_on else hold))
        show_json(paused) if as_json else say(_tell_pause(paused) if paused else "learning goes on")
        return

    if now:
        change(settings, home, lambda conn: _begin(conn, worker))
    status = query(settings, home, lambda conn: read_status(conn, worker, home))
    cycle = status["cycle"]
    if cycle is not None and status["worker"] is None:
        say(tell_idle(alias), fg="yellow", err=True)
    if follow and cycle is not None and not as_json:
        look = partial(query, settings, home, lambda conn: read_status(conn, worker, home))
        if not follow_cycle(look):
            raise typer.Exit(3)
    elif as_json:
        show_json(cycle)
    elif cycle is None:
        say(_wait(status["next"]))
    else:
        say(f"{describe(cycle)}, candidate {cycle['candidate'] or 'none yet'}")
    if status["paused"] and not as_json:
        say(_tell_pause(status["paused"]))


async def _begin(conn: Connection, worker: WorkerSettings) -> tuple[Cycle, Event | None]:
    cycle, began = await begin_now(conn, worker)
    event = Event("begin cycle", worker.alias, {"cycle": cycle.id}) if began else None
    return cycle, event


async def _cancel(conn: Connection, alias: str, reason: str) -> tuple[Cycle, Event]:
    ended = await ledger.cancel(conn, alias, reason)
    return ended, Event("cancel cycle", alias, {"cycle": ended.id, "reason": reason})


async def _pause(conn: Connection, alias: str, reason: str | None) -> tuple[Pause | None, Event]:
    """For the reason, or no longer where there is none; what holds then."""
    if reason is None:
        await resume(conn, alias)
        return None, Event("resume learning", alias)
    paused = await pause(conn, alias, reason, actor=COMMAND)
    return paused, Event("pause learning", alias, {"reason": paused.reason})


def _tell_pause(paused: Pause) -> str:
    return (
        f"learning is paused since {paused.since:%Y-%m-%d %H:%M} by {paused.actor}:"
        f" {paused.reason}; `liveweights cycle --resume` ends it"
    )


def _wait(next_: Mapping[str, str]) -> str:
    """What is said where no cycle is open."""
    waits = f"the next waits for {next_['waits_for']}" if next_["waits_for"] else "the next is due"
    differs = f"; {next_['differs']}" if next_["differs"] else ""
    return f"no cycle is open: {waits}; `liveweights cycle --now` starts one now{differs}"
