"""``liveweights scoreboard``: models on the same cases, who is ahead, and who is tied."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from liveweights import bounds
from liveweights.access.audit import Event
from liveweights.cli.context import (
    HOME,
    ApiKey,
    Cases,
    CaseSeed,
    Concurrency,
    Home,
    Json,
    Settings,
    Url,
    change,
    find_model,
    find_url,
    open_database,
    query,
    read_config,
    refuse,
    with_added,
    with_all_added,
)
from liveweights.cli.output import say, show, show_csv, show_json
from liveweights.machine import describe_processor
from liveweights.model_table import ModelSettings
from liveweights.scoreboard.results import OWN, Run, ScoreboardError
from liveweights.scoreboard.rows import add_results, open_run, read_live, read_scored, remove_run
from liveweights.scoreboard.table import NOBODY, Table, make_tables
from liveweights.service_key import key_for
from liveweights.store.database import Connection

scoreboard = typer.Typer(
    no_args_is_help=True,
    help="Scores that stand up: models answer the same cases with the same seeds, every pair is "
    "compared, and what is not told apart is said to be tied.",
)
Models = Annotated[
    str, typer.Option(help="Public names or checkpoint ids, with commas; default: all.")
]
Suites = Annotated[
    str, typer.Option(help="Names, with commas; `liveweights suites` lists the built-in ones.")
]
Form = Literal["table", "json", "csv", "markdown"]
T = TypeVar("T")


@scoreboard.command()
def run(
    models: Annotated[
        str, typer.Option(help="Public names or checkpoint ids of the service, with commas.")
    ],
    suites: Suites,
    twice: Annotated[
        list[str] | None,
        typer.Option(help="Score this one again with other seeds: the noise. Repeat."),
    ] = None,
    cases: Cases = 0,
    seed: CaseSeed = 0,
    concurrency: Concurrency = 2,
    most_money: Annotated[
        float | None,
        typer.Option(
            min=0.000001, max=1e9, help="Stop when so much is spent, in the models' currency."
        ),
    ] = None,
    most_minutes: Annotated[
        float | None, typer.Option(min=0.01, max=1e6, help="Stop after so many minutes.")
    ] = None,
    hardware: Annotated[
        str, typer.Option(help="What answers; default: this machine's processor, or `hosted`.")
    ] = "",
    url: Url = "",
    key: ApiKey = "",
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Ask suites of several models of a running service, local and hosted, and keep every score.

    What was asked already is not asked again, so a run that was stopped goes on with the same
    command. Ends with 0 when all is asked, with 3 where a budget was spent before.
    """
    from aiohttp import ClientError, ClientResponseError

    from liveweights.cli.scoring import Plan, score
    from liveweights.gate.sandbox import SandboxUnavailable
    from liveweights.gate.suites.model import Refused
    from liveweights.gate.suites.suite import SuiteError

    settings = read_config(config, home)
    where, found = home.resolve(), find_url(url, settings, home)
    names = _split(models)
    unknown = sorted(set(twice or ()) - set(names))
    if unknown:
        raise refuse(f"--twice {unknown[0]}: it is none of --models {models}")
    asked = _split(suites)
    learner: ModelSettings | None = None
    if names and "held-back" in asked:  # of the first model
        first = names[0].partition("@")[0]
        learner = find_model(with_added(settings, first, home), first)
    plan = Plan(
        url=found,
        key=key_for(found, where, settings.api.host) or key,
        models=names,
        suites=asked,
        twice=tuple(twice or ()),
        cases=cases,
        seed=seed,
        concurrency=concurrency,
        money=most_money,
        seconds=None if most_minutes is None else most_minutes * 60,
        hardware=hardware or describe_processor(),
        learner=learner,
    )
    try:
        outcome = asyncio.run(score(plan, lambda: open_database(settings, where, writes=True)))
    except (ScoreboardError, SuiteError, SandboxUnavailable, Refused, LookupError) as error:
        raise refuse(str(error)) from error
    except ClientResponseError as error:
        raise refuse(f"{found} was asked for a minute: {error.message}") from error
    except (ClientError, TimeoutError) as error:
        why = f"{found} cannot be reached: {error}; `liveweights up` starts it"
        raise refuse(why) from error
    shown = query(settings, home, lambda conn: _read(conn, names, outcome.suites, outcome.asked))
    _print(shown, "table")
    if outcome.spent:
        say(f"stopped: {outcome.spent} are spent; the same command goes on", fg="yellow", err=True)
        raise typer.Exit(3)


@scoreboard.command("show")
def show_tables(
    models: Models = "",
    suites: Suites = "",
    form: Annotated[Form, typer.Option("--format", help="How it is printed.")] = "table",
    plot: Annotated[
        Path | None, typer.Option(help="Draw scores and intervals: .svg, .png or .pdf.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Scores of others beside ours, which never rank.")
    ] = False,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Show every finished score: mean and interval, who is tied, what a solved task costs."""
    if published and form == "csv":
        raise refuse("--published is a second table, which one CSV cannot hold: --format json does")
    settings = read_config(config, home)
    tables = query(settings, home, lambda conn: _read(conn, _split(models), _split(suites)))
    if plot:
        from liveweights.scoreboard.plot import draw_tables

        try:
            draw_tables(tables, plot)
        except (OSError, ValueError) as error:
            raise refuse(str(error)) from error
        say(f"wrote {plot}", err=True)
    if not published:
        _print(tables, form)
        return
    every = with_all_added(settings, home)
    named = {one.alias: one.base for one in every.list_models()}
    named |= {one.alias: one.model for one in every.list_hosted()}
    shown = {one.model for table in tables for one in (*table.costs, *table.open)}
    listed = _list_published({name: named[name] for name in sorted(shown & set(named))}, home)
    if form == "json":
        show_json({"tables": tables, "published": listed})
        return
    from liveweights.scoreboard.published import COLUMNS

    _print(tables, form)
    say("As others published it, with harnesses of theirs: neither ranked nor compared.")
    show(listed, COLUMNS, False)


@scoreboard.command()
def compare(
    model: Annotated[str, typer.Argument(help="Public name or checkpoint id.")],
    baseline: Annotated[str, typer.Argument(help="What it is compared with.")],
    suites: Suites = "",
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Say in one sentence whether a model is better than a baseline, over the suites that both have
    finished. Ends with 0 if it is, with 1 if it is worse, with 3 if they are not told apart."""
    from liveweights.scoreboard.sentences import compare as say_comparison

    settings = read_config(config, home)
    tables = query(settings, home, lambda conn: _read(conn, (model, baseline), _split(suites)))
    try:
        verdict = say_comparison(tables, model, baseline)
    except ScoreboardError as error:
        raise refuse(str(error)) from error
    say(verdict.sentence)
    raise typer.Exit({"better": 0, "worse": 1}.get(verdict.standing, 3))


@scoreboard.command("import")
def import_results(
    file: Annotated[Path, typer.Argument(help="Results per instance: JSON, or JSON lines.")],
    model: Annotated[str, typer.Option(help="Whose results they are.")],
    suite: Annotated[str, typer.Option(help="Name of the suite, such as swe-bench-pro.")],
    source: Annotated[str, typer.Option(help="Who published them, and where.")],
    version: Annotated[str, typer.Option(help="Of the suite.")] = "1",
    harness: Annotated[str, typer.Option(help="What put the cases.")] = "unknown",
    instances: Annotated[
        Path | None,
        typer.Option(
            help="Ids of all instances, one a line or as JSON (lines); those without a result score"
            " 0. Needed where a file names only what was resolved."
        ),
    ] = None,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Keep results per instance that others published: the same statistics, in tables of their own.

    Read are {"ID": true}, objects with `resolved` or `score`, reports with `resolved_ids` and the
    ids that were tried, and, with --instances, lists of `resolved` ids alone.
    """
    from liveweights.scoreboard.imports import conditions_for, parse_results
    from liveweights.scoreboard.instances import parse_instances

    if source == OWN:
        raise refuse(f"--source {OWN} is what was asked here; name who published the file")
    settings = read_config(config, home)
    ids = _parse(instances, parse_instances) if instances else ()
    results = _parse(file, lambda text: parse_results(text, ids))
    conditions = conditions_for(
        results, suite=suite, version=version, harness=harness, source=source
    )
    scored = Run(
        model=model,
        checkpoint=None,
        conditions=conditions,
        hardware="unknown",
    )

    async def keep(conn: Connection) -> tuple[int, Event | None]:
        run = await open_run(conn, scored)
        new = await add_results(conn, run, results)
        details = {"run": run, "suite": suite, "source": source, "results": new}
        return new, Event("import scores", model, details) if new else None

    try:
        new = change(settings, home, keep)
    except ScoreboardError as error:
        raise refuse(f"{file}: {error}") from error
    solved = sum(one.score for one in results)
    before = f", {len(results) - new} were there already" if new < len(results) else ""
    say(f"{new} results of {model} on {suite} kept{before}; {solved:g} solved")


@scoreboard.command("list")
def list_runs(home: Home = HOME, config: Settings = None, as_json: Json = False) -> None:
    """List the runs that are kept, with all that their scores depend on."""
    settings = read_config(config, home)
    runs = query(settings, home, read_scored)
    rows = [
        {
            "id": one.id,
            "model": one.run.model,
            "suite": one.run.conditions.suite,
            "version": one.run.conditions.version,
            "attempts": len(one.results),
            "planned": one.run.conditions.cases * one.run.conditions.samples,
            "repeat": one.run.conditions.repeat,
            "checkpoint": one.run.checkpoint,
            "hardware": one.run.hardware,
            "runner": one.run.conditions.runner,
            "source": one.run.conditions.source,
            "created_at": f"{one.created_at:%Y-%m-%d %H:%M}",
        }
        for one in runs
    ]
    columns = (*("id", "model", "suite", "version", "attempts", "planned", "repeat"),
               *("checkpoint", "hardware", "source", "created_at"))  # fmt: skip
    show(rows, columns, as_json)


@scoreboard.command()
def remove(
    run_id: Annotated[int, typer.Argument(min=1, max=bounds.COUNT, help="Of `scoreboard list`.")],
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Remove a run with its scores."""
    settings = read_config(config, home)

    async def do(conn: Connection) -> tuple[bool, Event | None]:
        was = await remove_run(conn, run_id)
        return was, Event("remove scores", f"run {run_id}") if was else None

    if not change(settings, home, do):
        raise refuse(
            f"there is no run {run_id}; `liveweights scoreboard list` shows those there are"
        )
    say(f"run {run_id} is removed")


def _parse(file: Path, parse: Callable[[str], T]) -> T:
    try:
        return parse(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ScoreboardError) as error:
        raise refuse(f"{file}: {error}") from error


async def _read(
    conn: Connection,
    models: tuple[str, ...],
    suites: tuple[str, ...],
    asked: Mapping[str, str | None] = NOBODY,
) -> list[Table]:
    """Of what is live, or of the checkpoints that were ``asked`` just now."""
    live = await read_live(conn) | dict(asked)
    return make_tables(await read_scored(conn, suites), models, live)


def _print(tables: list[Table], form: Form) -> None:
    from liveweights.scoreboard.pages import COLUMNS, notes, rows, to_markdown

    match form:
        case "json":
            show_json(tables)
        case "csv":
            show_csv(COLUMNS, ([row[name] for name in COLUMNS] for row in rows(tables)))
        case "markdown":
            for line in to_markdown(tables).splitlines():
                say(line)
        case "table":
            shown = [name for name in COLUMNS if name not in ("currency", "checkpoint", "source")]
            show(rows(tables), shown, False)
            for table in tables:
                for note in notes(table):
                    say(note, err=True)


def _list_published(bases: dict[str, str], home: Path) -> list[dict[str, object]]:
    from liveweights.catalog.card_files import CatalogueError
    from liveweights.catalog.catalogue import Catalogue
    from liveweights.scoreboard.published import list_published

    try:
        return list_published(Catalogue(home), bases)
    except CatalogueError as error:
        raise refuse(str(error)) from error


def _split(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (part.strip() for part in text.split(",")))))
