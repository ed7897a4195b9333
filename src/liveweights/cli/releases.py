"""``liveweights checkpoints``, ``lineage`` and ``rollback``: what is there, and what is live."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from liveweights.access.audit import Event
from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Settings,
    change,
    find_model,
    query,
    read_config,
)
from liveweights.cli.output import say, show, show_json
from liveweights.release import moves
from liveweights.release.alias import Alias
from liveweights.release.lineage import list_checkpoints, read_lineage
from liveweights.store.database import Connection

Name = Annotated[str, typer.Argument(help="Alias; default: the configured one.")]


def checkpoints(home: Home = HOME, config: Settings = None, as_json: Json = False) -> None:
    """List every checkpoint and what points at it."""

    rows = query(read_config(config, home), home, list_checkpoints)
    show(rows, ("id", "kind", "parent", "created", "alias"), as_json)


def lineage(
    checkpoint: Annotated[str, typer.Argument(help="Id of a checkpoint, name@hash.")],
    home: Home = HOME,
    config: Settings = None,
    feedback_ids: Annotated[
        bool, typer.Option(help="Also the id of every feedback that was read.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Whose weights these are: parents back to the base, and what each cycle read."""
    line = query(
        read_config(config, home),
        home,
        lambda conn: read_lineage(conn, checkpoint, feedback_ids=feedback_ids),
    )
    if as_json:
        show_json(line)
        return
    rows = [
        msgspec.to_builtins(one)
        | {"outcome": f"{one.outcome}, then taken back" if one.withdrawn else one.outcome}
        for one in line.chain
    ]
    columns = ("id", "kind", "cycle", "outcome", "verdict", "generations", "held_back", "feedback")
    show(rows, columns, False)


def rollback(
    alias: Name = "",
    to: Annotated[
        str | None, typer.Option(help="Checkpoint; default: what was live before.")
    ] = None,
    reason: Annotated[str, typer.Option(help="Kept with the release.")] = "by hand",
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Make an earlier checkpoint live again, at once."""
    settings = read_config(config, home)
    name = alias or find_model(settings, None).alias

    async def do(conn: Connection) -> tuple[Alias, Event]:
        moved = await moves.rollback(conn, name, to, reason=reason)
        return moved, Event("roll back", name, {"to": moved.live, "reason": reason})

    moved = change(settings, home, do)
    say(f"{moved.name}: {moved.live} is live")
