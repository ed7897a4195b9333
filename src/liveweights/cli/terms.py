"""``liveweights terms``: what each model may be used for, and who set a rule aside."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from liveweights import bounds
from liveweights.access.audit import Event
from liveweights.app.profiles import CatalogueRefused, read_known
from liveweights.catalog.card_files import CatalogueError
from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.names import UnknownModel
from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Settings,
    change,
    is_nowhere,
    query,
    read_config,
    refuse,
    with_all_added,
)
from liveweights.cli.output import say, show, show_json
from liveweights.cli.terms_page import example_lines, list_questions, terms_lines, told
from liveweights.config import Config
from liveweights.store.database import Connection
from liveweights.terms import rows
from liveweights.terms.book import Book
from liveweights.terms.decision import Override
from liveweights.terms.defaults import DEFAULTS
from liveweights.terms.examples import list_examples
from liveweights.terms.facts import facts_of
from liveweights.terms.names import find_idle, find_strange
from liveweights.terms.purposes import find_purpose
from liveweights.terms.rules import ACTIONS, Action

terms = typer.Typer(
    no_args_is_help=True,
    help="What each model may be used for, by its licence and by your rules ([[terms]] of the "
    "settings file). Not legal advice.",
)

Tenant = Annotated[str | None, typer.Option(help="Whose use it is; default: nobody's.")]
Who = Annotated[str, typer.Option(help="Who answers for it.")]
DATE = "%Y-%m-%d"


@terms.command()
def check(
    name: Annotated[
        str | None,
        typer.Argument(help="A model of the catalogue; default: every model of the service."),
    ] = None,
    tenant: Tenant = None,
    purpose: Annotated[
        str | None,
        typer.Option(help="Such as `commercial`; default: the tenant's, by the settings file."),
    ] = None,
    day: Annotated[
        datetime | None, typer.Option(formats=[DATE], help="Default: today (UTC).")
    ] = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Say for each model, and each thing that may be done with it, which rules apply and which of
    them decides.

    Ends with status 1 if a model may not be loaded or may not answer.
    """
    settings = read_config(config, home)
    known = Catalogue(home)
    when = (day or datetime.now(UTC)).date()
    purpose = purpose or find_purpose(settings.purposes, tenant)
    try:
        if name is None:
            served = with_all_added(settings, home)
            models = [one.candidate.facts for one in read_known(served, home).values()]
        else:
            models = [facts_of(known, known.find(name))]
        strange = list(find_strange(settings.terms, known))
    except (CatalogueError, CatalogueRefused, UnknownModel, OSError) as error:
        raise refuse(str(error)) from error
    overrides = _overrides(settings, home)
    book = Book(models, settings.terms, overrides=overrides)
    strange += find_idle(overrides, (*settings.terms, *DEFAULTS))
    found = {
        one.name: [(q, book.decide(one.name, q)) for q in list_questions(when, tenant, purpose)]
        for one in models
    }
    if as_json:
        show_json({"models": [told(one, found[one.name]) for one in models], "strange": strange})
    else:
        for facts in models:
            for line in terms_lines(facts, found[facts.name]):
                say(line)
        for line in strange:
            say(line, fg="yellow", err=True)
    decided = (pair for pairs in found.values() for pair in pairs)
    if any(d.outcome == "deny" and asked.action in ("load", "route") for asked, d in decided):
        raise typer.Exit(1)


@terms.command("examples")
def list_rules_of_origin(
    jurisdiction: Annotated[
        str | None, typer.Option(help="Such as US; default: all that are known.")
    ] = None,
    home: Home = HOME,
) -> None:
    """Print rules of governments on origin as [[terms]] to choose from: none is in force until it
    is in the settings file. Each says since when it holds and where that was read. Not legal
    advice: add whom it is about (`tenant`, `purpose`), and read the source first."""
    try:
        examples = list(list_examples(Catalogue(home).rules))
    except CatalogueError as error:
        raise refuse(str(error)) from error
    places = sorted({one.jurisdiction for one, _ in examples})
    if jurisdiction is not None and jurisdiction not in places:
        raise refuse(f"--jurisdiction {jurisdiction}: there are {', '.join(places)}")
    for origin, rule in examples:
        if jurisdiction in (None, origin.jurisdiction):
            for line in example_lines(origin, rule):
                say(line)


@terms.command("denials")
def list_denials(
    limit: Annotated[int, typer.Option(min=1, max=bounds.COUNT, help="The newest so many.")] = 50,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """List what was denied, and by which rule, newest first."""

    async def ask(conn: Connection) -> list[rows.Denial]:
        return await rows.read_denials(conn, limit)

    found = [asdict(one) for one in query(read_config(config, home), home, ask)]
    if not as_json:
        found = [one | {"at": f"{one['at']:%Y-%m-%d %H:%M}"} for one in found]
    show(found, ("at", "model", "action", "tenant", "purpose", "rule", "reason"), as_json)


@terms.command()
def override(
    model: Annotated[str, typer.Argument(help="Its public name.")],
    rule: Annotated[str, typer.Argument(help="The rule that is set aside, and no other.")],
    who: Who,
    why: Annotated[str, typer.Option(help="What allows it, such as a contract.")],
    until: Annotated[datetime, typer.Option(formats=[DATE], help="The last day (UTC).")],
    action: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(ACTIONS)}; default: all.")
    ] = None,
    tenant: Annotated[str | None, typer.Option(help="Whose use it is; default: anybody's.")] = None,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Set a rule aside for one model, in your name, until a day."""
    settings = read_config(config, home)
    today = datetime.now(UTC).date()
    if until.date() < today:
        raise refuse(f"--until {until:{DATE}} is over; the last day is today or later")
    if not who.strip() or not why.strip():
        raise refuse("--who and --why say who answers for it, and why; neither may be empty")
    if action is not None and action not in ACTIONS:
        raise refuse(f"--action {action}: there are {', '.join(ACTIONS)}")
    one = Override(
        model=model,
        rule=rule,
        who=who,
        why=why,
        until=until.date(),
        action=None if action is None else msgspec.convert(action, Action),
        tenant=tenant,
    )
    for fault in find_idle([one], (*settings.terms, *DEFAULTS)):
        raise refuse(fault)

    async def add(conn: Connection) -> tuple[int, Event]:
        number = await rows.add_override(conn, one)
        return number, Event("override rule", model, {"number": number, **asdict(one)})

    number = change(settings, home, add)
    say(f"override {number}: {rule} is set aside for {model} until {one.until}")


@terms.command("overrides")
def list_overrides(
    everything: Annotated[
        bool, typer.Option("--all", help="Also those that are over or were taken back.")
    ] = False,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """List who set which rule aside, for which model, why, and until when."""
    day = None if everything else datetime.now(UTC).date()

    async def ask(conn: Connection) -> list[rows.Kept]:
        return await rows.read_overrides(conn, day)

    found = query(read_config(config, home), home, ask)
    shown = [
        {name: value for name, value in asdict(one).items() if name != "override"}
        | asdict(one.override)
        for one in found
    ]
    columns = ("number", "model", "rule", "action", "tenant", "who", "why", "until", "ended_by")
    show(shown, columns, as_json)


@terms.command("end")
def end_override(
    number: Annotated[int, typer.Argument(min=1, max=bounds.COUNT, help="Of the override.")],
    who: Annotated[str, typer.Option(help="Who takes it back.")],
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Take an override back before its last day; its row stays."""
    if not who.strip():
        raise refuse("--who says who takes it back; it may not be empty")

    async def end(conn: Connection) -> tuple[None, Event]:
        model = await rows.end_override(conn, number, who)
        return None, Event("end override", model, {"number": number, "who": who})

    change(read_config(config, home), home, end)
    say(f"override {number} is taken back")


def _overrides(settings: Config, home: Path) -> list[Override]:
    """Those that were not taken back; none where there is no service yet."""
    if is_nowhere(settings, home):
        return []

    async def ask(conn: Connection) -> list[rows.Kept]:
        return await rows.read_overrides(conn)

    return [one.override for one in query(settings, home, ask) if one.ended_at is None]
