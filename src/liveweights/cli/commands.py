"""Every command. What each does lives elsewhere; here are arguments and printing."""

from __future__ import annotations

import asyncio
import uuid
from typing import Annotated, Any

import msgspec
import typer

from liveweights import __version__
from liveweights.cli.archive import archive, forget, restore
from liveweights.cli.canary import canary
from liveweights.cli.context import HOME, Home, Json, Settings, query, read_config, refuse
from liveweights.cli.databases import db
from liveweights.cli.doctor import doctor, rebuild_rollups
from liveweights.cli.evidence import follow_cycle, show_report
from liveweights.cli.gate import gate, suites
from liveweights.cli.insight import insight
from liveweights.cli.output import show, show_json
from liveweights.cli.replay import replay
from liveweights.cli.scorecard import scorecard
from liveweights.cli.service import serve, up
from liveweights.cli.sql import sql
from liveweights.cli.upcycle import upcycle
from liveweights.cli.upkeep import make_key, prune, sign, verify
from liveweights.cycle import ledger
from liveweights.cycle.report import read_report
from liveweights.release import aliases
from liveweights.release.lineage import read_lineage
from liveweights.store.database import Connection

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Serve an open-weight model, learn from its users, ship better weights with proof.",
)
app.add_typer(insight, name="insight")
app.add_typer(replay, name="replay")
app.add_typer(canary, name="canary")
for command in (
    *(up, serve),
    *(gate, suites, prune, verify, sign, make_key, upcycle),
    *(archive, restore, forget, sql, doctor),
):
    app.command()(command)
app.add_typer(db, name="db")
app.command("rollups")(rebuild_rollups)

Name = Annotated[str, typer.Argument(help="Alias; default: the configured one.")]


@app.command()
def status(home: Home = HOME, config: Settings = None, as_json: Json = False) -> None:
    """Where the circle stands: what is live, the open cycle, the last cycles."""
    from liveweights.cycle.status import read_status  # brings torch with it

    settings = read_config(config)
    found = query(settings, home, lambda conn: read_status(conn, settings.alias, home))
    if as_json:
        show_json(found)
        return
    typer.echo(f"{found['alias']}: {found['live']} is live, canary {found['canary'] or 'none'}")
    counts = "{generations} generations, {feedback} rows of feedback, {releases} releases"
    typer.echo(counts.format(**found))
    show(found["cycles"], ("id", "state", "outcome", "candidate", "reason"), False)


@app.command()
def cycle(
    now: Annotated[bool, typer.Option("--now", help="Start a cycle if none is open.")] = False,
    number: Annotated[
        int | None,
        typer.Option("--show", metavar="N", help="What cycle N learnt, and from what."),
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Show the open cycle's progress until it ends.")
    ] = False,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Show the open cycle, or start one now; the running worker takes it from there."""
    from liveweights.cycle.status import read_status  # brings torch with it

    settings = read_config(config)
    if number is not None:
        report = query(settings, home, lambda conn: read_report(conn, settings.alias, number))
        show_json(report) if as_json else show_report(report)
        return

    async def ask(conn: Connection) -> dict[str, Any] | None:
        if now and await ledger.current(conn, settings.alias) is None:
            await ledger.begin(conn, settings.alias, msgspec.to_builtins(settings.learn))
        return (await read_status(conn, settings.alias, home))["cycle"]

    found = query(settings, home, ask)
    if follow and found is not None and not as_json:
        follow_cycle(settings, home)
    elif as_json:
        show_json(found)
    elif found is None:
        typer.echo("no cycle is open; `liveweights cycle --now` starts one")
    else:
        typer.echo(f"cycle {found['id']} is {found['state']}, candidate {found['candidate']}")


@app.command()
def checkpoints(home: Home = HOME, config: Settings = None, as_json: Json = False) -> None:
    """List every checkpoint and what points at it."""

    async def ask(conn: Connection) -> list[dict[str, Any]]:
        cursor = await conn.execute(
            "select c.id, c.kind, c.parent, c.created_at, (select string_agg(a.name ||"
            " case when a.live = c.id then ' (live)' else ' (canary)' end, ', ')"
            " from aliases a where c.id in (a.live, a.canary)), c.folder"
            " from checkpoints c order by c.created_at"
        )
        names = ("id", "kind", "parent", "created", "alias", "folder")
        return [dict(zip(names, row, strict=True)) for row in await cursor.fetchall()]

    rows = query(read_config(config), home, ask)
    show(rows, ("id", "kind", "parent", "created", "alias"), as_json)


@app.command()
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
    found = query(
        read_config(config),
        home,
        lambda conn: read_lineage(conn, checkpoint, feedback_ids=feedback_ids),
    )
    if as_json:
        show_json(found)
        return
    rows = [msgspec.to_builtins(one) for one in found.chain]
    columns = ("id", "kind", "cycle", "outcome", "verdict", "generations", "held_back", "feedback")
    show(rows, columns, False)


@app.command()
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
    settings = read_config(config)
    name = alias or settings.alias
    found = query(settings, home, lambda conn: aliases.rollback(conn, name, to, reason=reason))
    typer.echo(f"{found.name}: {found.live} is live")


@app.command()
def feedback(
    generation: Annotated[str, typer.Argument(help="Id of the answer, gen_...")],
    signal: Annotated[str, typer.Argument(help="accepted, rejected, edited, thumbs, ...")],
    value: Annotated[float | None, typer.Option(help="For thumbs and reward.")] = None,
    text: Annotated[str | None, typer.Option(help="For edited, comment, correction.")] = None,
    url: Annotated[str, typer.Option(help="Of the API.")] = "http://127.0.0.1:8090",
    key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="API key.")] = "",
) -> None:
    """Send one reaction to a running service."""
    import aiohttp

    body = {"generation": generation, "signal": signal, "id": uuid.uuid4().hex}
    body |= {k: v for k, v in {"value": value, "text": text}.items() if v is not None}
    headers = {"authorization": f"Bearer {key}"} if key else {}

    async def send() -> tuple[int, str]:
        async with (
            aiohttp.ClientSession(headers=headers) as session,
            session.post(f"{url}/v1/feedback", json=body) as response,
        ):
            return response.status, await response.text()

    try:
        code, answer = asyncio.run(send())
    except aiohttp.ClientError as error:
        raise refuse(f"{url} cannot be reached: {error}") from error
    if code >= 300:
        raise refuse(answer)
    typer.echo(answer)


@app.command("config")
def show_config(config: Settings = None) -> None:
    """Print the settings in force, with every key."""
    from liveweights.cli.reference import toml_of

    typer.echo(toml_of(read_config(config)))


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


app.command()(scorecard)
