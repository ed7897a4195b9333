"""Questions about live data."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console

from liveweights.cli.adoption import own_adoption
from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Settings,
    query,
    read_config,
    refuse,
    with_all_added,
)
from liveweights.cli.output import say, show, show_csv, show_json
from liveweights.insight.catalogue import (
    KEYS,
    MONEY_KEYS,
    QUESTIONS,
    TOOL_KEYS,
    Question,
    check_key,
)
from liveweights.insight.sparkline import sparkline
from liveweights.insight.window import NOW, make_window
from liveweights.insight.worths import Worths
from liveweights.terminal import clean

BARS = 40
LEAST_BARS = 10
BESIDE = 24
"""Characters of a line beside its key and its bars."""

insight = typer.Typer(
    no_args_is_help=True,
    help="Questions about live data: every answer includes what the last commit wrote.",
)

Since = Annotated[str, typer.Option(help="90m, 12h, 7d, 2w ago, or a date, or a time (UTC).")]
Until = Annotated[str, typer.Option(help="As --since; before this.")]
Step = Annotated[str | None, typer.Option(help="5m, 1h or 1d; default: what fits the window.")]
By = Annotated[str | None, typer.Option(help=f"Tell apart by {', '.join(KEYS)}.")]
Alias = Annotated[str | None, typer.Option(help="One alias; default: all.")]
Tenant = Annotated[str | None, typer.Option(help="One tenant; default: all.")]
Csv = Annotated[bool, typer.Option("--csv", help="Print CSV.")]


insight.command("adoption")(own_adoption)


@insight.command("accept-rate")
def accept_rate(
    since: Since = "7d",
    until: Until = "now",
    step: Step = None,
    by: By = None,
    alias: Alias = None,
    tenant: Tenant = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """How often answers are taken, and what they are worth, over time (by checkpoint)."""
    about = _About(since, until, step, by, alias, tenant)
    _answer("accept-rate", about, home, config, as_json, as_csv)


@insight.command()
def unhappy(
    since: Since = "7d",
    until: Until = "now",
    alias: Alias = None,
    tenant: Tenant = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Which users are unhappy, the surest first."""
    about = _About(since, until, None, None, alias, tenant)
    _answer("unhappy", about, home, config, as_json, as_csv)


@insight.command()
def silence(
    since: Since = "7d",
    until: Until = "now",
    by: By = None,
    alias: Alias = None,
    tenant: Tenant = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Where the model says nothing more often than in the window before (by surface)."""
    about = _About(since, until, None, by, alias, tenant)
    _answer("silence", about, home, config, as_json, as_csv)


@insight.command()
def tools(
    since: Since = "7d",
    until: Until = "now",
    by: Annotated[str | None, typer.Option(help=f"Tell apart by {', '.join(TOOL_KEYS)}.")] = None,
    alias: Alias = None,
    tenant: Tenant = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Which models call tools wrongly, or the same one again and again, or decline (by
    checkpoint)."""
    about = _About(since, until, None, by, alias, tenant)
    _answer("tools", about, home, config, as_json, as_csv)


@insight.command()
def usage(
    since: Since = "7d",
    until: Until = "now",
    by: By = None,
    alias: Alias = None,
    tenant: Tenant = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """Tokens and cost, the most expensive first (by tenant)."""
    about = _About(since, until, None, by, alias, tenant)
    _answer("usage", about, home, config, as_json, as_csv)


@insight.command()
def revenue(
    since: Since = "7d",
    until: Until = "now",
    step: Step = None,
    by: Annotated[str | None, typer.Option(help=f"Tell apart by {', '.join(MONEY_KEYS)}.")] = None,
    alias: Alias = None,
    tenant: Tenant = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """What was charged, what upstreams asked for it, and what is left, over time (by tenant)."""
    about = _About(since, until, step, by, alias, tenant)
    _answer("revenue", about, home, config, as_json, as_csv)


@insight.command("first-token")
def first_token(
    since: Since = "7d",
    until: Until = "now",
    step: Step = None,
    by: By = None,
    alias: Alias = None,
    tenant: Tenant = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """How long users wait for the first token: p50, p95, p99 over time (by checkpoint)."""
    about = _About(since, until, step, by, alias, tenant)
    _answer("first-token", about, home, config, as_json, as_csv)


@insight.command("feedback-delay")
def feedback_delay(
    since: Since = "7d",
    until: Until = "now",
    by: By = None,
    alias: Alias = None,
    tenant: Tenant = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """How long after an answer its feedback comes (by surface)."""
    about = _About(since, until, None, by, alias, tenant)
    _answer("feedback-delay", about, home, config, as_json, as_csv)


@insight.command()
def load(
    since: Since = "7d",
    until: Until = "now",
    step: Step = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """How busy each instance of the API was, over time."""
    about = _About(since, until, step, None, None, None)
    _answer("load", about, home, config, as_json, as_csv)


@insight.command()
def swaps(
    since: Since = "7d",
    until: Until = "now",
    alias: Alias = None,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
    as_csv: Csv = False,
) -> None:
    """When aliases changed what they point at, and why."""
    about = _About(since, until, None, None, alias, None)
    _answer("swaps", about, home, config, as_json, as_csv)


@dataclass(frozen=True, slots=True)
class _About:
    """What was asked about, as it was written."""

    since: str
    until: str
    step: str | None
    by: str | None
    alias: str | None
    tenant: str | None


def _answer(
    name: str, about: _About, home: Path, config: Path | None, as_json: bool, as_csv: bool
) -> None:
    question = QUESTIONS[name]
    settings = read_config(config, home)
    try:
        by = check_key(name, about.by)
        window = make_window(
            about.since,
            about.until,
            about.step,
            alias=about.alias,
            tenant=about.tenant,
            sum=question.drawn is None,
        )
    except ValueError as error:
        raise refuse(str(error)) from error
    every = with_all_added(settings, home)
    worths = Worths(every.rewards, every.rewards_by_alias())
    answers = query(settings, home, lambda conn: question.ask(conn, window, worths, by))
    rows: list[dict[str, Any]] = [
        msgspec.to_builtins(row, builtin_types=(datetime,)) for row in answers
    ]
    columns = question.row.__struct_fields__
    if as_json:
        show_json(answers)
    elif as_csv:
        show_csv(columns, ([msgspec.to_builtins(value) for value in row.values()] for row in rows))
    elif not rows:
        end = NOW if about.until == NOW else f"{window.until:%Y-%m-%d %H:%M}"
        say(f"nothing between {window.since:%Y-%m-%d %H:%M} and {end}")
    elif question.drawn:
        _draw(rows, question, question.drawn)
    else:
        show([{k: _rounded(v) for k, v in row.items()} for row in rows], columns, False)


def _draw(rows: Sequence[dict[str, Any]], question: Question, drawn: str) -> None:
    """One line for each key, or key and currency: its numbers over time as bars, and the last
    one."""
    times = sorted({row["at"] for row in rows})
    lines: defaultdict[tuple[str, ...], dict[datetime, dict[str, Any]]] = defaultdict(dict)
    for row in rows:
        lines[tuple(row[name] for name in question.told)][row["at"]] = row
    shown = {told: "  ".join(map(clean, told)) for told in lines}
    wide = max(map(len, shown.values()))
    bars = min(BARS, len(times), max(LEAST_BARS, Console().width - wide - BESIDE))
    say(f"{'':<{wide}}  {'over time':<{bars}}  {drawn} at last, of so many {question.counted}")
    for told, own in lines.items():
        line = sparkline([own[at][drawn] if at in own else None for at in times], bars)
        last = own[max(own)]
        number = "-" if last[drawn] is None else _rounded(last[drawn])
        say(f"{shown[told]:<{wide}}  {line:<{max(bars, 9)}}  {number}  {last[question.counted]}")
    say(f"{times[0]:%Y-%m-%d %H:%M} to {times[-1]:%Y-%m-%d %H:%M} UTC")


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:%Y-%m-%d %H:%M}" if hasattr(value, "strftime") else value
