"""``liveweights replay``: replayed users against a running service; and ``liveweights demo``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import typer

from liveweights import bounds
from liveweights.cli.context import (
    HOME,
    Home,
    Model,
    Settings,
    Url,
    find_model,
    find_url,
    read_config,
)
from liveweights.cli.model import require_model
from liveweights.cli.output import say, show_json
from liveweights.config import Config
from liveweights.replay.client import Client
from liveweights.replay.corpus import Corpus
from liveweights.replay.measure import choose, compare_measurements
from liveweights.replay.measure import measure as run_measure
from liveweights.replay.settings import DemoOptions, MeasureSettings, Rewards, TrafficSettings
from liveweights.replay.traffic import Tally, Traffic

replay = typer.Typer(no_args_is_help=True, help="Replayed developers who type real code.")


def demo(
    minutes: Annotated[
        float,
        typer.Option(
            help="The circle goes on turning for so long, unless two releases are proven.",
            min=0.1,
            max=1440,
        ),
    ] = 4.0,
    most_minutes: Annotated[
        float, typer.Option(help="It ends by then, shown or not.", min=0.1, max=1440)
    ] = 20.0,
    releases: Annotated[
        int, typer.Option(help="Demand so many releases; 0: none.", min=0, max=1000)
    ] = 0,
    long: Annotated[
        bool,
        typer.Option(
            "--long",
            help="A longer show: 20 minutes, and packages that nobody typed from besides.",
        ),
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the service running.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Progress as lines.")] = False,
    folder: Annotated[str, typer.Option(help="Where the run is kept.")] = "runs/demo",
) -> None:
    """Watch a model get better from its users while it serves them.

    It measures how fast the machine is, says what to expect, and ends when the checkpoint that is
    live is shown to be better than the base at positions that nobody trained on. Exit code 0: it
    is, and no request failed.
    """
    from liveweights.replay.demo import run_demo  # brings matplotlib with it

    require_model(Config().model)
    options = DemoOptions(
        folder=folder,
        minutes=max(minutes, 20.0) if long else minutes,
        most_minutes=max(most_minutes, 40.0) if long else most_minutes,
        releases=releases,
        long=long,
        keep=keep,
        plain=plain,
        measure=MeasureSettings(files=40, package_files=12 if long else 0),
        # Short sessions: evidence is clustered by session, so many small ones say more.
        traffic=TrafficSettings(session_positions=5, window=560, rate=2.0, temperature=0.0),
    )
    raise typer.Exit(run_demo(options))


@replay.command()
def run(
    url: Url = "",
    model: Model = None,
    requests: Annotated[
        int, typer.Option(min=0, max=bounds.COUNT, help="Stop after so many; 0: never.")
    ] = 200,
    developers: Annotated[int, typer.Option(min=1, max=256, help="Who type at the same time.")] = 4,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Send replayed traffic with feedback to a running service."""
    settings = read_config(config, home)
    place, name = find_url(url, settings, home), find_model(settings, model).alias

    async def go() -> dict[str, object]:
        async with Client(place) as client:
            traffic = TrafficSettings(max_requests=requests, developers=developers)
            files = Corpus.find().split().training
            tally = await Traffic(client, files, model=name, settings=traffic).run()
            return {"requests": tally.requests, "failed": tally.failed}

    show_json(asyncio.run(go()))


@replay.command()
def measure(
    models: Annotated[list[str], typer.Argument(help="Two names: what to compare with what.")],
    url: Url = "",
    files: Annotated[int, typer.Option(min=2, max=bounds.COUNT, help="Held-out files.")] = 60,
    home: Home = HOME,
    config: Settings = None,
) -> None:
    """Compare two checkpoints on held-out files, paired by position."""
    place = find_url(url, read_config(config, home), home)
    if len(models) != 2:
        say("give exactly two names", fg="red", err=True)
        raise typer.Exit(2)

    async def go() -> object:
        traffic, settings = TrafficSettings(), MeasureSettings(files=files)
        places = choose(Corpus.find().split().held_out_files, files, settings, traffic)
        async with Client(place) as client:
            measured = [await run_measure(client, name, places, tally=Tally()) for name in models]
        return compare_measurements(measured[0], measured[1], Rewards()).as_dict()

    show_json(msgspec.to_builtins(asyncio.run(go())))
