"""``liveweights models``: the models of a running service, and adding, changing, removing them."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from liveweights import bounds
from liveweights.access.audit import Event
from liveweights.app.relay import check_relay
from liveweights.cli.context import HOME, Home, Json, Settings, change, query, read_config, refuse
from liveweights.cli.model_facts import NoService, fetch_models, show_facts
from liveweights.cli.output import say, show, show_json
from liveweights.cli.reference import toml_value
from liveweights.config import Config
from liveweights.model_table import ConfigError, ModelTable, read_table
from liveweights.release import aliases
from liveweights.release import models as rows
from liveweights.release.model_facts import COLUMNS as FACTS
from liveweights.release.model_facts import table_row
from liveweights.release.models import Row, Standing
from liveweights.serve.api.objects import Model
from liveweights.store.database import Connection

models = typer.Typer(
    invoke_without_command=True,
    help="The models of a running service, alone: the list of them. Those of the settings file "
    "stay as they are there; others are added, changed and removed while it runs, on all its "
    "instances.",
)
Name = Annotated[str, typer.Argument(help="Public name.")]
Keys = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="KEY=VALUE...",
        help="Keys of a table [models.NAME], such as base=models/chat-1b, learn=false, "
        "engine.slots=2, upstream=http://10.0.0.2:8000/v1 or key_env=BIG_KEY. What is no value of "
        "TOML is text.",
    ),
]
Wait = Annotated[
    float,
    typer.Option(
        min=0, max=bounds.SECONDS, help="Seconds to wait for the instances to do it; 0: not at all."
    ),
]
KEYS = ("name", "kind", "of", "checkpoint", "state", "learn", "from", "error")
COLUMNS = (*KEYS[:-1], *(fact for fact in FACTS[1:] if fact not in KEYS), "error")


@dataclass(frozen=True, slots=True)
class View:
    """What the database knows: rows, where models stand, and what is live under each name."""

    rows: dict[str, Row]
    standings: list[Standing]
    live: dict[str, str]


async def look(conn: Connection) -> View:
    return View(
        rows={row.name: row for row in await rows.read_rows(conn)},
        standings=await rows.read_standings(conn),
        live={alias.name: alias.live for alias in await aliases.read_all(conn)},
    )


def describe(config: Config, view: View) -> list[dict[str, Any]]:
    """One line for each model: those of the settings, then those that were added."""
    own = config.names()
    lines: list[dict[str, Any]] = []
    for name in _names(config, view):
        here = [one for one in view.standings if one.model == name]
        errors = [one.error for one in here if one.error]
        line = {
            "name": name,
            "state": ", ".join(sorted({one.state for one in here})) or "no instance",
            "from": "settings" if name in own else "added",
        }
        try:
            whole = config
            if name not in own:
                whole = config.with_models({name: read_table(name, view.rows[name].settings)})
            line |= _kind(whole, name, view.live.get(name))
        except ConfigError as error:
            errors.insert(0, str(error))
        lines.append(line | {"error": next(iter(errors), None)})
    return lines


def _kind(config: Config, name: str, live: str | None) -> dict[str, Any]:
    """What a model is. Raises ConfigError."""
    for hosted in config.list_hosted():
        if hosted.alias == name:
            checkpoint = f"{hosted.model}@upstream"
            of = hosted.upstream
            return {"kind": "hosted", "of": of, "checkpoint": checkpoint, "learn": False}
    local = config.find_model(name)
    return {"kind": "local", "of": local.base, "checkpoint": live, "learn": local.learns}


def _ask_service(config: Config, home: Path) -> dict[str, Model]:
    """What the running service says of its models; without one that is told, and nothing else is
    known of them."""
    try:
        return fetch_models(config, home)
    except NoService as error:
        say(str(error), fg="yellow", err=True)
        return {}


def join(line: Mapping[str, Any], model: Model | None) -> dict[str, Any]:
    """A row of ``COLUMNS``: what a running service says of its model goes beside what ``describe``
    does, and counts first where it knows more of a hosted one."""
    if model is None:
        return dict(line)
    facts = dict(zip(FACTS, table_row(model), strict=True))
    if line.get("kind") == "hosted":
        return {**line, **facts}
    return {**facts, **line}


@models.callback()
def list_unless_told(
    context: typer.Context, home: Home = HOME, config: Settings = None, as_json: Json = False
) -> None:
    told = context.invoked_subcommand
    if told is None:
        list_models(home, config, as_json)
    elif (home, config, as_json) != (HOME, None, False):
        raise refuse(f"options go behind the command: `liveweights models {told} ...`")


@models.command("list")
def list_models(home: Home = HOME, config: Settings = None, as_json: Json = False) -> None:
    """List all models: what they are, what is live, whether the instances can answer, and what the
    running service knows of each: whose it is, what it can do, what it costs, how it does."""
    settings = read_config(config, home)
    lines = describe(settings, query(settings, home, look))
    facts = _ask_service(settings, home)
    if as_json:
        show_json([line | {"facts": facts.get(line["name"])} for line in lines])
        return
    show([join(line, facts.get(line["name"])) for line in lines], COLUMNS, False)


@models.command("show")
def show_model(
    name: Name, home: Home = HOME, config: Settings = None, as_json: Json = False
) -> None:
    """Show one model: its keys, where it stands on each instance, and all that the running service
    knows of it."""
    settings = read_config(config, home)
    view = query(settings, home, look)
    line = next((one for one in describe(settings, view) if one["name"] == name), None)
    if line is None:
        raise refuse(f"no model is called {name!r}: there are {', '.join(_names(settings, view))}")
    row = view.rows.get(name) if line["from"] == "added" else None
    keys, version = (row.settings, row.version) if row else (None, None)
    instances = [asdict(one) for one in view.standings if one.model == name]
    facts = _ask_service(settings, home).get(name)
    if as_json:
        more = {"settings": keys, "version": version, "instances": instances, "facts": facts}
        show_json(line | more)
        return
    show([{"key": key, "value": line.get(key)} for key in KEYS], ("key", "value"), False)
    if facts is not None:
        show_facts(facts)
    for key, value in (keys or {}).items():
        say(f"{key} = {toml_value(value)}")
    show(instances, ("instance", "state", "version", "error"), False)


@models.command()
def add(
    name: Name, keys: Keys = None, wait: Wait = 60.0, home: Home = HOME, config: Settings = None
) -> None:
    """Add a model. Without `upstream` it is a local one, of the packaged base unless `base` says
    another; it answers once it is loaded and probed."""
    settings = read_config(config, home)
    given = change_keys({}, parse_keys(keys or []))

    async def do(conn: Connection) -> tuple[int, Event]:
        _check(settings, await rows.read_rows(conn), name, given)
        return await rows.add(conn, name, given), Event("add model", name, given)

    _await(settings, home, name, change(settings, home, do), wait)


@models.command("set")
def set_keys(
    name: Name, keys: Keys = None, wait: Wait = 60.0, home: Home = HOME, config: Settings = None
) -> None:
    """Change keys of a model that was added; `KEY=` takes one back. It answers as before until
    what takes its place can."""
    settings = read_config(config, home)
    given = parse_keys(keys or [])
    if not given:
        raise refuse("say what is to be changed, such as learn=false")

    async def do(conn: Connection) -> tuple[int, Event]:
        there = await rows.read_rows(conn)
        before = next((row.settings for row in there if row.name == name), {})
        after = change_keys(before, given)
        _check(settings, there, name, after)
        return await rows.change(conn, name, after), Event("change model", name, given)

    _await(settings, home, name, change(settings, home, do), wait)


@models.command()
def remove(name: Name, wait: Wait = 60.0, home: Home = HOME, config: Settings = None) -> None:
    """Let a model that was added answer no more, once its requests in flight have ended. What was
    recorded and learnt stays, and is there again if it is added again."""
    settings = read_config(config, home)

    async def do(conn: Connection) -> tuple[int, Event]:
        _refuse_own(settings, name)
        there = await rows.read_rows(conn)
        for other in there:
            if name in other.settings.get("fallback", ()):
                raise refuse(f"{other.name} falls back on {name}: change that one first")
            if name == other.settings.get("learn_from") and name != other.name:
                raise refuse(f"{other.name} learns from {name}: change that one first")
        return await rows.remove(conn, name), Event("remove model", name)

    _await(settings, home, name, change(settings, home, do), wait, gone=True)


def parse_keys(keys: list[str]) -> dict[str, Any]:
    """``a.b=1`` as ``{"a": {"b": 1}}``, in TOML's words; "" for a key without a value. Ends the
    command where one is neither."""
    parsed: dict[str, Any] = {}
    for key in keys:
        path, equals, text = key.partition("=")
        parts = path.split(".")
        if not equals or not all(parts):
            raise refuse(f"{key!r} is no KEY=VALUE, such as learn=false")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError:
            value = text
        table = parsed
        for part in parts[:-1]:
            table = table.setdefault(part, {})
            if not isinstance(table, dict):
                raise refuse(f"{path!r} is given twice, as a value and as a table")
        table[parts[-1]] = value
    return parsed


def change_keys(before: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """``before`` with what is ``given``: tables key by key, and "" takes a key away."""
    after = dict(before)
    for key, value in given.items():
        inner = after.get(key)
        if isinstance(value, dict):
            after[key] = change_keys(inner if isinstance(inner, dict) else {}, value)
        else:
            after[key] = value
        if after[key] in ("", {}):
            del after[key]
    return after


def _check(config: Config, there: list[Row], name: str, keys: Mapping[str, Any]) -> None:
    """Ends the command where the model would not do beside the others."""
    _refuse_own(config, name)
    added = {row.name: row for row in there}
    try:
        table: ModelTable = read_table(name, keys)
        others = {n: read_table(n, row.settings) for n, row in added.items() if n != name}
        whole = config.with_models({**others, name: table})
        whole.check_models()
        check_relay(whole)
    except ConfigError as error:
        raise refuse(str(error)) from error


def _refuse_own(config: Config, name: str) -> None:
    if name in config.names():
        raise refuse(f"the model {name!r} is the settings file's: change it there")


def _names(config: Config, view: View) -> list[str]:
    return [*config.names(), *(name for name in view.rows if name not in config.names())]


def _await(
    config: Config, home: Path, name: str, version: int, seconds: float, *, gone: bool = False
) -> None:
    """Say what the instances made of the row; ends with status 1 where one cannot run it."""

    async def ask(conn: Connection) -> list[Standing]:
        return await _poll(conn, seconds, lambda there: _is_done(there, name, version, gone=gone))

    there = query(config, home, ask) if seconds else []
    instances = {one.instance for one in there}
    here = [one for one in there if one.model == name]
    what = "is removed" if gone else f"is there, version {version}"
    if not instances:
        say(f"{name} {what}; no instance runs now" if seconds else f"{name} {what}")
        return
    failed = [one for one in here if one.state == "failed" and one.version == version]
    for one in failed:
        say(f"{one.instance}: {one.error}", fg="red", err=True)
    if failed:
        raise typer.Exit(1)
    if _is_done(there, name, version, gone=gone):
        states = ", ".join(sorted({one.state for one in here}))
        say(f"{name} {what}" + (f": {states} on {len(here)} instances" if here else ""))
        return
    say(f"{name} {what}; not every instance has done it within {seconds:g} s", err=True)
    raise typer.Exit(1)


def _is_done(there: list[Standing], name: str, version: int, *, gone: bool) -> bool:
    """Whether every instance that lives has done what the row's version says."""
    here = {one.instance: one for one in there if one.model == name}
    if gone:
        return not here
    settled = ("ready", "cold", "failed", "hosted")
    return all(
        one in here and here[one].version == version and here[one].state in settled
        for one in {standing.instance for standing in there}
    )


async def _poll(
    conn: Connection, seconds: float, done: Callable[[list[Standing]], bool]
) -> list[Standing]:
    await conn.set_autocommit(True)  # each look is of its own moment
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        there = await rows.read_standings(conn)
        if done(there) or asyncio.get_running_loop().time() >= deadline:
            return there
        await asyncio.sleep(0.2)
