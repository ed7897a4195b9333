"""``liveweights canary``: watch a candidate's live comparison, and overrule it with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from liveweights.access.actions import OfReleases
from liveweights.access.audit import Event
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
    with_all_added,
)
from liveweights.cli.output import say, show, show_json
from liveweights.cli.rules import find_denial, read_terms
from liveweights.cycle import ledger, live
from liveweights.cycle.override import override
from liveweights.cycle.trial import Trial, note_trial
from liveweights.release import aliases, ancestry
from liveweights.release.alias import Alias
from liveweights.release.audience import count_audience
from liveweights.release.rollout import Action, IllegalMove, Move
from liveweights.store.database import Connection
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
    settings = with_all_added(read_config(config, home), home)
    name = find_model(settings, model).alias
    denied = find_denial(settings, home, read_terms(settings, home), [name], "release")
    if denied is not None:
        _, by = denied
        raise refuse(f"terms do not allow a release of {name}: {by} (rule {by.rule})")

    async def do(conn: Connection) -> tuple[Alias | ledger.Cycle, Event]:
        await get(conn, checkpoint)
        details = {"checkpoint": checkpoint, "gated": gated, "reason": reason}
        noted = Event("start canary", name, details)
        if gated:
            await ancestry.require_fits(conn, await aliases.read(conn, name), checkpoint)
            trial = note_trial(Trial(needs="better", reason=reason))
            return await ledger.begin_trial(conn, name, checkpoint, trial), noted
        cycle = await ledger.begin_release(conn, name, checkpoint, reason)
        started = await live.start(
            conn,
            name,
            checkpoint,
            settings.canary,
            cycle=cycle.id,
            reason=f"by hand: {reason}",
        )
        return started, noted

    begun = change(settings, home, do)
    if isinstance(begun, ledger.Cycle):
        say(f"{name}: cycle {begun.id} judges {checkpoint}; `liveweights status` shows how it goes")
    else:
        say(f"{name}: {begun.canary} is tried on {_share(begun)}")


@canary.command()
def step(reason: Reason, model: Model = None, home: Home = HOME, config: Settings = None) -> None:
    """Go on to the next share now."""
    _override("step canary", "step", reason, model, home, config)


@canary.command()
def hold(reason: Reason, model: Model = None, home: Home = HOME, config: Settings = None) -> None:
    """Stay at this share; only proven harm still ends the canary."""
    _override("hold canary", "hold", reason, model, home, config)


@canary.command()
def resume(reason: Reason, model: Model = None, home: Home = HOME, config: Settings = None) -> None:
    """End a hold."""
    _override("resume canary", "resume", reason, model, home, config)


@canary.command()
def promote(
    reason: Reason, model: Model = None, home: Home = HOME, config: Settings = None
) -> None:
    """Give it to everyone now."""
    _override("promote canary", "promote", reason, model, home, config)


@canary.command()
def abort(reason: Reason, model: Model = None, home: Home = HOME, config: Settings = None) -> None:
    """Take it from everyone now."""
    _override("abort canary", "rollback", reason, model, home, config)


def _override(
    action: OfReleases, move: Action, reason: str, model: str | None, home: Path, path: Path | None
) -> None:
    settings = with_added(read_config(path, home), model, home)
    chosen = find_model(settings, model)

    async def do(conn: Connection) -> tuple[Alias, Event]:
        moved = await override(
            conn,
            chosen.alias,
            Move(move, f"by hand: {reason}"),
            rewards=chosen.rewards,
            canary=settings.canary,
            gate=chosen.gate,
        )
        return moved, Event(action, chosen.alias, {"reason": reason})

    try:
        alias = change(settings, home, do)
    except IllegalMove as error:
        raise refuse(str(error)) from error
    if alias.canary:
        held = ", held" if alias.held else ""
        say(f"{alias.name}: {alias.canary} is tried on {_share(alias)}{held}")
    else:
        say(f"{alias.name}: {alias.live} is live")


def _share(alias: Alias) -> str:
    return f"{alias.share:.0%} of {'answers' if alias.by_answer else 'sessions'}"


def _say(value: float | None) -> str:
    return "-" if value is None else f"{value:+.3f}"
