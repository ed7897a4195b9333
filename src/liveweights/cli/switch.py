"""``liveweights switch``: an alias on another base, with what it has learnt."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from liveweights.access.audit import Event
from liveweights.app.start import REFUSALS, find_base
from liveweights.catalog.card import read_card
from liveweights.catalog.template import has_template
from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Settings,
    change,
    find_model,
    query,
    read_config,
    refuse,
    with_added,
    write,
)
from liveweights.cli.output import say, show_json
from liveweights.cli.rules import read_terms
from liveweights.config import Config
from liveweights.cycle import ledger, switching
from liveweights.cycle.bases import Switch, read_bases, read_switch
from liveweights.cycle.ledger import Cycle
from liveweights.cycle.switching import Refused, Wish
from liveweights.exposure.proportions import Rate, difference_of, rate_of
from liveweights.model_table import ConfigError, ModelSettings
from liveweights.release import aliases, ancestry
from liveweights.release.alias import Alias
from liveweights.store.database import Connection
from liveweights.terms.current import Terms
from liveweights.terms.rules import Action
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import load_tokenizer
from liveweights.weights.registry import register

NEEDED: tuple[Action, ...] = ("load", "learn", "release")
"""What an alias does with a base, whoever uses it."""


def switch(
    alias: Annotated[str, typer.Argument(help="Public name of the model.")],
    base: Annotated[
        str | None,
        typer.Argument(
            metavar="NEW_BASE",
            help="Name, folder or hf://ORG/NAME of another base. Without it: where the last switch"
            " stands, and the accept rate after against before.",
        ),
    ] = None,
    back: Annotated[
        bool,
        typer.Option(
            "--back",
            help="End the switch that is under way, or go back to where the last one came from,"
            " with what was learnt there.",
        ),
    ] = False,
    reason: Annotated[str, typer.Option(help="Why; kept with the release for ever.")] = "by hand",
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Take an alias to another base while it answers, with what it has learnt.

    The new base is loaded beside the old one. All reactions that may be learnt from are learnt
    again on it: their answers have tokens of the old base, so they teach in words, by the losses
    that need no log-probabilities. The gate asks both; without evidence of harm the new one gets
    shadow and canary like any candidate, and everyone only if that goes well. Meanwhile the alias
    answers as before, and no request fails.

    Refused are a base that is not on this machine or cannot be served, one that the rules of use or
    its licence do not allow, and one that could not answer what the alias is asked.
    """
    settings = with_added(read_config(config, home), alias, home)
    model = find_model(settings, alias)
    if back:
        if base is not None:
            raise refuse("--back goes where the alias came from: leave NEW_BASE out")
        now = change(settings, home, lambda conn: _go_back(conn, alias, reason))
        show_json(now) if as_json else say(f"{alias}: {now.live} is live")
        return
    if base is None:
        told = query(settings, home, lambda conn: read_report(conn, alias))
        show_json(told) if as_json else _show(told)
        return
    place = Path(base).expanduser()
    name = str(place.resolve()) if place.exists() else base  # the service may run elsewhere
    cycle = _begin(settings, home, model, name, reason)
    if as_json:
        show_json(cycle)
        return
    say(
        f"{alias}: cycle {cycle.id} learns on {name} what {alias} was told, and tries it;"
        f" `liveweights switch {alias}` shows how it goes, `--back` ends it"
    )


def _begin(config: Config, home: Path, model: ModelSettings, name: str, reason: str) -> Cycle:
    found, absent = _find(config, model, name)
    can_chat = found is not None and has_template(load_tokenizer(found))
    card = read_card(found, config.cache_folder()) if found else {}
    try:
        moved = config.with_base(model.alias, name)
    except ConfigError as error:
        raise refuse(str(error)) from error
    # Rules look at the facts of the base that is asked for.
    terms = read_terms(moved, home) if found else Terms()

    # Each denial is a row, whatever comes of it.
    denied = write(config, home, lambda conn: _read_denied(conn, terms, model.alias))

    async def do(conn: Connection) -> tuple[Cycle, Event | None]:
        live = (await aliases.read(conn, model.alias)).live
        stands = await ancestry.root_of(conn, live) or live
        open_ = await ledger.current(conn, model.alias)
        begins = switching.decide(
            Wish(
                alias=model.alias,
                model=name,
                stands=stands,
                asked=found.id if found else None,
                absent=absent,
                denied=denied,
                chats=await _answers_chats(conn, model.alias),
                can_chat=can_chat,
                open=open_,
            )
        )
        if begins == "goes on" and open_ is not None:
            return open_, None
        assert found is not None
        await register(conn, found, card)
        known = (await read_bases(conn)).get(model.alias)
        wanted = Switch(
            base=found.id,
            model=name,
            former=stands,
            former_model=(known and known.models.get(stands)) or model.base,
            reason=reason,
        )
        cycle = await switching.begin(conn, config.for_worker(model.alias), wanted)
        details = {"cycle": cycle.id, "base": found.id, "reason": reason}
        return cycle, Event("switch base", model.alias, details)

    try:
        return change(config, home, do)
    except Refused as error:
        raise refuse(str(error)) from error


async def _go_back(conn: Connection, alias: str, reason: str) -> tuple[Alias, Event]:
    now = await switching.go_back(conn, alias, reason=reason)
    return now, Event("switch back", alias, {"to": now.live, "reason": reason})


def _find(config: Config, model: ModelSettings, name: str) -> tuple[Checkpoint | None, str]:
    """The base, or why there is none that could be served in the model's place."""
    wanted = msgspec.structs.replace(model, base=name)
    try:
        return asyncio.run(find_base(wanted, config.cache_folder(), learns=model.learns)), ""
    except REFUSALS as error:
        return None, str(error)


async def _read_denied(conn: Connection, terms: Terms, alias: str) -> dict[str, str]:
    """What the rules do not allow, each with the rule; denials become rows."""
    denied: dict[str, str] = {}
    async with terms.renewed(conn):
        for action in NEEDED:
            if (by := terms.permit(alias, terms.ask(action))) is not None:
                denied.setdefault(action, f"{by} (rule {by.rule})")
        for tenant in await _read_tenants(conn, alias):
            if (by := terms.permit(alias, terms.ask("route", tenant))) is not None:
                denied.setdefault(f"let {tenant} use", f"{by} (rule {by.rule})")
    return denied


async def _read_tenants(conn: Connection, alias: str) -> list[str]:
    """Whoever asked the alias within a month."""
    cursor = await conn.execute(
        "select distinct tenant from counted where alias = %s and not whole"
        " and bucket > now() - interval '30 days' and right(checkpoint, 7) <> '@import'"
        " order by tenant",
        (alias,),
    )
    return [tenant for (tenant,) in await cursor.fetchall()]


async def _answers_chats(conn: Connection, alias: str) -> bool:
    cursor = await conn.execute(
        "select exists (select from answers where alias = %s and endpoint = 'chat')", (alias,)
    )
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def read_report(conn: Connection, alias: str) -> dict[str, Any]:
    """Where the last switch of an alias stands: the cycle, what it relearnt, and accept rates by
    base. Raises LookupError where there was none."""
    live = (await aliases.read(conn, alias)).live
    cycles = await ledger.switches(conn, alias)
    if not cycles:
        raise LookupError(f"{alias!r} was never switched: it stands on what {live} is on")
    cycle = cycles[0]
    wanted = read_switch(cycle)
    assert wanted is not None
    rates = await _read_rates(conn, alias)
    before, after = rates.get(wanted.former), rates.get(wanted.base)
    return {
        "alias": alias,
        "live": live,
        "stands": await ancestry.root_of(conn, live),
        "switch": wanted,
        "cycle": cycle.id,
        "state": cycle.outcome or cycle.state,
        "reason": cycle.reason,
        "relearnt": (cycle.learning or {}).get("roles", {}),
        "left_out": (cycle.learning or {}).get("masks", {}),
        "accepted": {
            "before": before,
            "after": after,
            "difference": difference_of(after, before) if before and after else None,
        },
    }


async def _read_rates(conn: Connection, alias: str) -> dict[str, Rate]:
    """Accepted answers as a share of those that were accepted or rejected, by base."""
    cursor = await conn.execute(
        "select c.root, sum(n.accepted)::bigint, sum(n.rejected)::bigint"
        " from counted n join ancestry c on c.id = n.checkpoint"
        " where n.alias = %s and n.whole and n.width = 1440 group by c.root",
        (alias,),
    )
    rates = {
        root: rate_of(accepted, accepted + rejected)
        for root, accepted, rejected in await cursor.fetchall()
    }
    return {root: rate for root, rate in rates.items() if rate is not None}


def _show(told: Mapping[str, Any]) -> None:
    wanted: Switch = told["switch"]
    why = f": {told['reason']}" if told["reason"] else ""
    say(f"{told['alias']}: from {wanted.former} to {wanted.base} ({wanted.reason})")
    say(f"cycle {told['cycle']} is {told['state']}{why}")
    say(f"{told['live']} is live, on {told['stands']}")
    counts = ", ".join(f"{count} {role}" for role, count in told["relearnt"].items())
    say(f"relearnt rows: {counts or 'none'}")
    for reason, count in told["left_out"].items():
        say(f"  {count} teach nothing: {reason}")
    accepted = told["accepted"]
    for when in ("before", "after"):
        say(f"accepted {when}: {_rate(accepted[when])}")
    if (difference := accepted["difference"]) is not None:
        say(f"difference {difference.value:+.1%} [{difference.low:+.1%}, {difference.high:+.1%}]")


def _rate(rate: Rate | None) -> str:
    if rate is None:
        return "nothing was accepted or rejected"
    return f"{rate.value:.1%} [{rate.low:.1%}, {rate.high:.1%}] of {rate.count}"
