"""``liveweights replay``: replayed users against a running service, and the demo."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import typer

from liveweights import bounds
from liveweights.cli.output import show_json
from liveweights.replay.client import Client
from liveweights.replay.corpus import Corpus
from liveweights.replay.measure import choose, compare_measurements
from liveweights.replay.measure import measure as run_measure
from liveweights.replay.settings import DemoOptions, MeasureSettings, Rewards, TrafficSettings
from liveweights.replay.traffic import Tally, Traffic

replay = typer.Typer(no_args_is_help=True, help="Replayed developers who type real code.")
Url = Annotated[str, typer.Option(help="Of the API.")]
URL = "http://127.0.0.1:8090"

DEMO: dict[str, object] = {
    "engine": {"slots": 4, "context_length": 768, "threads": 1},
    "learn": {
        # Most rows judge, and steps are small: with so few to learn from, an update that changes
        # many answers is worse nearly as often as better.
        "held_back_share": 0.6,
        "max_rows": 45,
        "max_held_back": 150,
        "max_scored": 16,
        "learning_rate": 3e-5,
        # So that the first two releases leave the third something to gain.
        "max_withheld": 0.2,
        "threads": 1,
        "nodes": 512,
        "probes": 4,
        # Four developers: each is a quarter of all there is.
        "user_share": 0.5,
    },
    "cycle": {"min_feedback": 150, "rest": 0.0, "poll": 0.5, "replay_rows": 90},
    # One-sided, an equal candidate passes once in twenty cycles; six changes that are all for the
    # better are chance once in 64.
    "gate": {"confidence": 0.9, "min_changed": 6},
    "canary": {
        "steps": [0.5],
        "step_seconds": 5.0,
        "unit": "reward",
        "lowest": -0.25,
        "highest": 0.75,
        # A dozen rewards of four users say next to nothing: the gate has judged, and here only
        # proven harm counts.
        "margin": 0.9,
        "max_rewards": 10,
        "max_seconds": 30.0,
        "min_rewards": 6,
    },
}
"""A 90-minute cycle in miniature: small windows, short canaries."""


@replay.command()
def demo(
    minutes: Annotated[
        float, typer.Option(min=0.01, max=1e6, help="Least minutes of traffic.")
    ] = 6.0,
    most_minutes: Annotated[
        float, typer.Option(min=0.01, max=1e6, help="Most minutes of traffic.")
    ] = 10.5,
    releases: Annotated[
        int, typer.Option(min=0, max=bounds.COUNT, help="Releases to wait for.")
    ] = 3,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the service running.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Progress as lines.")] = False,
    folder: Annotated[str, typer.Option(help="Where the run is kept.")] = "runs/demo",
) -> None:
    """Watch a model get better from its users while it serves them."""
    from liveweights.replay.demo import run_demo  # brings matplotlib with it

    options = DemoOptions(
        folder=folder,
        minutes=minutes,
        most_minutes=most_minutes,
        releases=releases,
        keep=keep,
        plain=plain,
        config=DEMO,
        measure=MeasureSettings(files=18, package_files=6),
        # Short sessions: evidence is clustered by session, so many small ones say more. The rate
        # leaves the update its share of two cores.
        traffic=TrafficSettings(session_positions=5, window=560, rate=1.1, temperature=0.0),
    )
    raise typer.Exit(run_demo(options))


@replay.command()
def run(
    url: Url = URL,
    model: Annotated[str, typer.Option(help="Model name to ask for.")] = "code",
    requests: Annotated[
        int, typer.Option(min=0, max=bounds.COUNT, help="Stop after so many; 0: never.")
    ] = 200,
    developers: Annotated[int, typer.Option(min=1, max=256, help="Who type at the same time.")] = 4,
) -> None:
    """Send replayed traffic with feedback to a running service."""

    async def go() -> dict[str, object]:
        async with Client(url) as client:
            settings = TrafficSettings(max_requests=requests, developers=developers)
            files = Corpus.find().split().training
            tally = await Traffic(client, files, model=model, settings=settings).run()
            return {"requests": tally.requests, "failed": tally.failed}

    show_json(asyncio.run(go()))


@replay.command()
def measure(
    models: Annotated[list[str], typer.Argument(help="Two names: what to compare with what.")],
    url: Url = URL,
    files: Annotated[int, typer.Option(min=2, max=bounds.COUNT, help="Held-out files.")] = 60,
) -> None:
    """Compare two checkpoints on held-out files, paired by position."""
    if len(models) != 2:
        typer.secho("give exactly two names", fg="red", err=True)
        raise typer.Exit(2)

    async def go() -> object:
        traffic, settings = TrafficSettings(), MeasureSettings(files=files)
        places = choose(Corpus.find().split().held_out_files, files, settings, traffic)
        async with Client(url) as client:
            found = [await run_measure(client, name, places, tally=Tally()) for name in models]
        return compare_measurements(found[0], found[1], Rewards()).as_dict()

    show_json(msgspec.to_builtins(asyncio.run(go())))
