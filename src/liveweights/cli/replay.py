"""``liveweights replay``: replayed users against a running service; and ``liveweights demo``."""

from __future__ import annotations

import asyncio
from typing import Annotated

import msgspec
import typer

from liveweights import bounds
from liveweights.cli.context import (
    HOME,
    ApiKey,
    Home,
    Model,
    Settings,
    Url,
    find_model,
    find_url,
    read_config,
    refuse,
)
from liveweights.cli.model import require_model
from liveweights.cli.output import say, show_json
from liveweights.config import Config
from liveweights.holder import Held
from liveweights.replay.client import Client
from liveweights.replay.corpus import Corpus
from liveweights.replay.folder import NotForDemo
from liveweights.replay.measure import Measurement, choose, compare_measurements
from liveweights.replay.measure import measure as run_measure
from liveweights.replay.settings import DemoOptions, MeasureSettings, Rewards, TrafficSettings
from liveweights.replay.traffic import Tally, Traffic
from liveweights.service_key import key_for

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
    folder: Annotated[
        str,
        typer.Option(help="Where the run is kept; the home of a demo before in it is deleted."),
    ] = "runs/demo",
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
    try:
        code = run_demo(options)
    except (Held, NotForDemo) as error:
        raise refuse(str(error)) from error
    raise typer.Exit(code)


@replay.command()
def run(
    url: Url = "",
    model: Model = None,
    requests: Annotated[
        int, typer.Option(min=0, max=bounds.COUNT, help="Stop after so many; 0: never.")
    ] = 200,
    developers: Annotated[int, typer.Option(min=1, max=256, help="Who type at the same time.")] = 4,
    home: Home = HOME,
    key: Annotated[
        str,
        typer.Option(
            envvar="OPENAI_API_KEY",
            help="API key, where the service asks for one; the traffic is its tenant's.",
        ),
    ] = "",
    config: Settings = None,
) -> None:
    """Send replayed traffic with feedback to a running service. Ends with 1 if none of the feedback
    arrived."""
    settings = read_config(config, home)
    place, name = find_url(url, settings, home), find_model(settings, model).alias

    async def go() -> Tally:
        async with Client(place, api_key=key) as client:
            traffic = TrafficSettings(max_requests=requests, developers=developers)
            files = Corpus.find().split().training
            return await Traffic(client, files, model=name, settings=traffic).run()

    tally = asyncio.run(go())
    show_json({"requests": tally.requests, "failed": tally.failed})
    _end(tally, nothing=not tally.reactions)


@replay.command()
def measure(
    models: Annotated[list[str], typer.Argument(help="Two names: what to compare with what.")],
    url: Url = "",
    files: Annotated[int, typer.Option(min=2, max=bounds.COUNT, help="Held-out files.")] = 60,
    home: Home = HOME,
    key: ApiKey = "",
    config: Settings = None,
) -> None:
    """Compare two checkpoints on held-out files, paired by position; `lost` are the positions at
    which one of them did not answer. Ends with 1 if these are all."""
    settings = read_config(config, home)
    place = find_url(url, settings, home)
    shown = key_for(place, home.resolve(), settings.api.host) or key
    if len(models) != 2:
        say("give exactly two names", fg="red", err=True)
        raise typer.Exit(2)

    tally = Tally()

    async def go() -> tuple[Measurement, Measurement]:
        wanted = MeasureSettings(files=files)
        places = choose(Corpus.find().split().held_out_files, files, wanted, TrafficSettings())
        async with Client(place, api_key=shown) as client:
            one, other = [await run_measure(client, name, places, tally=tally) for name in models]
        return one, other

    one, other = asyncio.run(go())
    lost = sum(None in pair for pair in zip(one.outcomes, other.outcomes, strict=True))
    if lost < len(one.positions):
        told = compare_measurements(one, other, Rewards()).as_dict()
        show_json(msgspec.to_builtins({**told, "lost": lost}))
    _end(tally, nothing=lost == len(one.positions))


def _end(tally: Tally, *, nothing: bool) -> None:
    """Say what failed; with 1 where ``nothing`` came of it."""
    if tally.failed:
        count = f"{tally.failed} of {tally.requests} requests failed"
        say(f"{count}, the last one with: {tally.errors[-1]}", fg="red", err=True)
    if tally.failed and nothing:
        raise typer.Exit(1)
