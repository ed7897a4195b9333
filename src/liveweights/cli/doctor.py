"""Is everything as it should be?"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from liveweights import bounds
from liveweights.access.audit import Event
from liveweights.cli.context import HOME, Home, Json, Settings, change, query, read_config
from liveweights.cli.output import say, show_json
from liveweights.cli.quarantine import describe
from liveweights.record import quarantine, rollups
from liveweights.store import tiers
from liveweights.store.columnstore import read_sizes
from liveweights.store.database import Connection
from liveweights.store.partitions import last_day

SHOWN = 5
"""Rows of the quarantine."""


def doctor(
    home: Home = HOME,
    config: Settings = None,
    days: Annotated[
        int,
        typer.Option(
            min=0, max=bounds.DAYS, help="Count the raw rows of so many days anew and compare."
        ),
    ] = 2,
    as_json: Json = False,
) -> None:
    """Look at the database: its tier and what it lacks, partitions, rollups, rows on disk and in
    quarantine. And at the sandbox: what holds programs that models write.

    Ends with status 1 if the rollups are not what the raw rows add up to, if there is no
    partition for tomorrow, or if rows are in quarantine or damaged.
    """
    settings = read_config(config, home)

    async def look(conn: Connection) -> dict[str, Any]:
        tier = await tiers.detect(conn, embedded=settings.database_url() is None)
        midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
        since, until = midnight - timedelta(days=days - 1), midnight + timedelta(days=1)
        since = max(since, await rollups.oldest(conn) or since)  # not what is archived
        wrong = await rollups.differences(conn, since, until) if days else []
        return {
            **msgspec.to_builtins(tier),
            "columnstore": await read_sizes(conn),
            "partitions_until": await last_day(conn),
            "compared_days": days,
            "wrong_buckets": len(wrong),
            "rows_on_disk": _rows_on_disk(home),
            "damaged_files": [str(path) for path in sorted((home / "spill").rglob("*.damaged"))],
            "quarantined": await quarantine.count(conn),
            "last_quarantined": await quarantine.read(conn, SHOWN),
        }

    facts: dict[str, Any] = {**query(settings, home, look), "sandbox": _sandbox()}
    tomorrow = datetime.now(UTC).date() + timedelta(days=1)
    ready: bool = facts["partitions_until"] is not None and facts["partitions_until"] >= tomorrow
    if as_json:
        show_json(facts)
    else:
        _print(facts, ready)
    if facts["wrong_buckets"] or facts["quarantined"] or facts["damaged_files"] or not ready:
        raise typer.Exit(1)


def _sandbox() -> dict[str, str]:
    """What holds programs that models write, or why none can be run."""
    from liveweights.gate.sandbox import SandboxUnavailable, open_sandbox

    try:
        return asyncio.run(open_sandbox()).enforcement
    except SandboxUnavailable as error:
        return {"unavailable": str(error)}


def _rows_on_disk(home: Path) -> int:
    return sum(int(path.stem[11:]) for path in (home / "spill").rglob("*.rows"))


def _print(facts: dict[str, Any], ready: bool) -> None:
    say(f"Postgres      {facts['version']}, tier {facts['kind']}")
    if facts["timescale"]:
        say(f"timescaledb   {facts['timescale']}")
    if sizes := facts["columnstore"]:
        say(
            f"columnstore   closed days: {sizes.days}, {sizes.as_rows:,} bytes of rows as "
            f"{sizes.as_columns:,} of columns"
        )
    until = facts["partitions_until"] or "none"
    advice = "" if ready else "; start the service once, it makes them"
    say(f"partitions    until {until}{advice}")
    if facts["wrong_buckets"]:
        rollups_are = (
            f"{facts['wrong_buckets']} buckets differ from the raw rows; "
            "`liveweights rollups --rebuild` counts anew"
        )
    else:
        rollups_are = f"equal to the raw rows of the last {facts['compared_days']} days"
    say(f"rollups       {rollups_are}")
    waiting = facts["rows_on_disk"]
    say(f"on disk       {waiting} answers wait for Postgres" if waiting else
               "on disk       nothing waits for Postgres")  # fmt: skip
    for path in facts["damaged_files"]:
        say(f"damaged       {path}: some of its rows could not be read", fg="red")
    if count := facts["quarantined"]:
        say(
            f"quarantine    {count} rows that Postgres refused, the last of them below; "
            "`liveweights quarantine` shows, offers again or drops them",
            fg="red",
        )
        for row in facts["last_quarantined"]:
            say(f"              {describe(row)}")
    else:
        say("quarantine    empty")
    for place, (name, held) in enumerate(facts["sandbox"].items()):
        say(f"{'' if place else 'sandbox':<13} {name}: {held}")
    for sentence in facts["lacks"]:
        say(f"note          {sentence}", fg="yellow")


def rebuild_rollups(
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Count anew from raw rows.")] = False,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Compare all rollups with the raw rows that are there, or count them anew."""

    async def count(conn: Connection) -> tuple[None, Event | None]:
        since = await rollups.oldest(conn)
        if since is None:
            return None, None
        await rollups.rebuild(conn, since)
        return None, Event("rebuild rollups", "rollups", {"since": since})

    async def compare(conn: Connection) -> list[rollups.Difference]:
        since = await rollups.oldest(conn)
        return [] if since is None else await rollups.differences(conn, since)

    settings = read_config(config, home)
    if rebuild:
        change(settings, home, count)
    buckets = query(settings, home, compare)
    if as_json:
        show_json(buckets)
    else:
        say(f"{len(buckets)} buckets differ from the raw rows")
    if buckets:
        raise typer.Exit(1)
