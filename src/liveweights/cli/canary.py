"""``liveweights canary``: watch a candidate's live comparison, and overrule it with a reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from liveweights.cli.context import (
    HOME,
    Home,
    Json,
    Model,
    Settings,
    find_model,
    query,
    read_config,
    refuse,
    with_added,
)
from liveweights.cli.output import say, show, show_json
from liveweights.cli.rules import read_terms
from liveweights.config import Config
from liveweights.cycle import ledger, live
from liveweights.cycle.override import override
from liveweights.cycle.trial import Trial, note_trial
from liveweights.model_table import ModelSettings
from liveweights.release import aliases, ancestry
from liveweights.release.alias import Alias
from liveweights.release.audience import count_audience
from liveweights.release.rollout import IllegalMove, Move
from liveweights.store.database import Connection
from liveweights.terms.decision import Match
from liveweights.weights.registry import get

canary = typer.Typer(
    no_args_is_help=True,
    help="The live comparison of a candidate with what it would replace. It steps, promotes and"
    " rolls back by itself; these commands show it and overrule it. Every reason is kept.",
)
Reason = Annotated[str, typer.Option(help="Why; kept with the release for ever.")]


@canary.command("show")
def show_canary(
    model: Model = None, home: Home = HOME, config: Settings = None, as_json: Json = False
) -> None:
    """Where the canary stands and what is known of it now."""
    settings = with_added(read_config(config, home), model, home)
    chosen = find_model(settings, model)

    async def ask(conn: Connection) -> dict[str, Any]:
        alias = await aliases.read(conn, chosen.alias)
        evidence = await live.read_evidence(conn, alias, chosen.rewards)
        judged = live.judge(evidence, settings.canary, chosen.gate)
        rollout, move = judged.rollout, judged.move
        assert alias.canary is not None
        exposed = await count_audience(conn, alias.name, alias.canary)
        return {
            "alias": alias.name,
            "live": alias.live,
            "canary": alias.canary,
            "stage": rollout.stage,
            "step": rollout.step,
            "share": alias.share,
            "by_answer": alias.by_answer,
            "shadow": alias.shadow,
            "held": alias.held,
            "seconds": evidence.course.seconds,
            "next": {"action": move.action, "reason": move.reason},
            "exposed": exposed,
            **live.describe(judged.look, settings.canary),
        }

    shown = query(settings, home, ask)
    if as_json:
        show_json(shown)
        return
    held = ", held" if shown["held"] else ""
    say(f"{shown['alias']}: {shown['live']} is live, {shown['canary']} is tried{held}")
    say(
        f"{shown['stage']}, step {shown['step'] + 1} of {len(settings.canary.steps)}:"
        f" {shown['share']:.0%} of {'answers' if shown['by_answer'] else 'sessions'},"
        f" {shown['shadow']:.0%} in the shadow,"
        f" {shown['seconds']:.0f} s; {shown['exposed'].users} users exposed"
    )
    numbers = shown["numbers"]
    say(
        f"reward {_say(numbers['live_mean'])} live, {_say(numbers['canary_mean'])} canary,"
        f" difference in [{numbers['low']:+.3f}, {numbers['high']:+.3f}];"
        f" e-values: worse {numbers['worse']:.3g}, not worse {numbers['not_worse']:.3g}"
        f" (needed {numbers['needed']:g})"
    )
    show(shown["guards"], ("name", "live", "canary", "e_value", "needed", "bound"), False)
    say(f"now: {shown['next']['action']}: {shown['next']['reason']}")


@canary.command()
def start(
    checkpoint: Annotated[str, typer.Argument(help="Id of a registered checkpoint.")],
    reason: Reason,
    gated: Annotated[
        bool,
        typer.Option("--gate", help="The gate judges it first, as what is learnt here."),
    ] = False,
    model: Model = None,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Try a checkpoint on live traffic, without the gate or after it; the running worker watches
    it."""
    settings = with_added(read_config(config, home), model, home)
    name = find_model(settings, model).alias
    terms = read_terms(settings, home)

    async def ask(conn: Connection) -> Alias | Match | ledger.Cycle:
        async with conn.transaction():
            await terms.renew(conn)
            denied = terms.permit(name, terms.ask("release"))
            await terms.write(conn)
        if denied is not None:
            return denied
        async with conn.transaction():
            await get(conn, checkpoint)
            if gated:
                await ancestry.require_fits(conn, await aliases.read(conn, name), checkpoint)
                trial = note_trial(Trial(needs="better", reason=reason))
                return await ledger.begin_trial(conn, name, checkpoint, trial)
            cycle = await ledger.begin_release(conn, name, checkpoint, reason)
            return await live.start(
                conn,
                name,
                checkpoint,
                settings.canary,
                cycle=cycle.id,
                reason=f"by hand: {reason}",
            )

    begun = query(settings, home, ask)
    if isinstance(begun, Match):
        raise refuse(f"terms do not allow a release of {name}: {begun} (rule {begun.rule})")
    if isinstance(begun, ledger.Cycle):
        say(f"{name}: cycle {begun.id} judges {checkpoint}; `liveweights status` shows how it goes")
    else:
        say(f"{name}: {begun.canary} is tried on {_share(begun)}")


@canary.command()
def step(reason: Reason, model: Model = None, home: Home = HOME, config: Settings = None) -> None:
    """Go on to the next share now."""
    _override(Move("step", f"by hand: {reason}"), model, home, config)


@canary.command()
def hold(reason: Reason, model: Model = None, home: Home = HOME, config: Settings = None) -> None:
    """Stay at this share; only proven harm still ends the canary."""
    _override(Move("hold", f"by hand: {reason}"), model, home, config)


@canary.command()
def resume(reason: Reason, model: Model = None, home: Home = HOME, config: Settings = None) -> None:
    """End a hold."""
    _override(Move("resume", f"by hand: {reason}"), model, home, config)


@canary.command()
def promote(
    reason: Reason, model: Model = None, home: Home = HOME, config: Settings = None
) -> None:
    """Give it to everyone now."""
    _override(Move("promote", f"by hand: {reason}"), model, home, config)


@canary.command()
def abort(reason: Reason, model: Model = None, home: Home = HOME, config: Settings = None) -> None:
    """Take it from everyone now."""
    _override(Move("rollback", f"by hand: {reason}"), model, home, config)


def _override(move: Move, model: str | None, home: Path, path: Path | None) -> None:
    settings = with_added(read_config(path, home), model, home)
    alias = query(settings, home, _act(settings, find_model(settings, model), move))
    if alias.canary:
        held = ", held" if alias.held else ""
        say(f"{alias.name}: {alias.canary} is tried on {_share(alias)}{held}")
    else:
        say(f"{alias.name}: {alias.live} is live")


def _act(
    settings: Config, model: ModelSettings, move: Move
) -> Callable[[Connection], Awaitable[Alias]]:
    async def ask(conn: Connection) -> Alias:
        try:
            return await override(
                conn,
                model.alias,
                move,
                rewards=model.rewards,
                canary=settings.canary,
                gate=model.gate,
            )
        except IllegalMove as error:
            raise refuse(str(error)) from error

    return ask


def _share(alias: Alias) -> str:
    return f"{alias.share:.0%} of {'answers' if alias.by_answer else 'sessions'}"


def _say(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"
