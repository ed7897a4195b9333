"""The commands that run the service: up, and serve without learning."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import psycopg
import typer

from liveweights.app.restarts import AWAY, GaveUp
from liveweights.cli.context import HOME, Home, Settings, read_config, refuse
from liveweights.cli.last_start import find_file, require_database
from liveweights.cli.model import require_model
from liveweights.config import Config
from liveweights.serve.hosted.settings import MissingKey
from liveweights.terminal import start_logging

PRECISIONS = {"auto": "auto", "q4": "q4_0", "q8": "q8_0", "f16": "f16", "f32": "f32"}
Precision = Annotated[
    str | None,
    typer.Option(
        help="Of the llama engine's weights: auto (the fastest that loses little), q4, q8, f16 or "
        "f32."
    ),
]

Switch = Annotated[
    bool,
    typer.Option(
        "--switch-alias",
        help="Let the alias go over to this model, where it stands on another one. What was learnt "
        "for it there is used again when it is switched back.",
    ),
]


def up(
    home: Home = HOME,
    config: Settings = None,
    model: Annotated[
        str | None,
        typer.Option(help="Packaged name, checkpoint folder, GGUF file or hf://ORG/NAME."),
    ] = None,
    alias: Annotated[str | None, typer.Option(help="Public model name.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="llama, openvino, torch, ternary, vllm or openai.")
    ] = None,
    precision: Precision = None,
    switch_alias: Switch = False,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="TCP port of the API.")] = None,
    host: Annotated[str | None, typer.Option(help="Address of the API.")] = None,
    upstream: Annotated[
        str | None,
        typer.Option(
            help="URL of an OpenAI-compatible server: pass requests on to it, record them and "
            "take feedback, and run no model here."
        ),
    ] = None,
    ray: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=4096,
            help="Share each update among so many Ray workers (RAY_ADDRESS, or here).",
        ),
    ] = None,
) -> None:
    """Start everything: database, API, engine, and the worker that learns and releases."""
    if ray is not None and find_spec("ray") is None:
        raise refuse("--ray needs Ray: pip install 'liveweights[ray]'")
    file = find_file(config, home)
    settings = read_config(
        file,
        None,
        model=model,
        alias=alias,
        engine={"kind": engine, "precision": _precision(precision)},
        api={"port": port, "host": host},
        gateway={"upstream": upstream},
        learn={"workers": ray},
    )
    _run(settings, home, ("api", "worker"), file=file, switch=switch_alias)


def serve(
    home: Home = HOME,
    config: Settings = None,
    model: Annotated[str | None, typer.Option(help="As for `up`.")] = None,
    alias: Annotated[str | None, typer.Option(help="Public model name.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="llama, openvino, torch, ternary, vllm or openai.")
    ] = None,
    precision: Precision = None,
    switch_alias: Switch = False,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="TCP port of the API.")] = None,
    host: Annotated[str | None, typer.Option(help="Address of the API.")] = None,
) -> None:
    """Serve and record, without the worker: nothing is learnt."""
    file = find_file(config, home)
    settings = read_config(
        file,
        None,
        model=model,
        alias=alias,
        engine={"kind": engine, "precision": _precision(precision)},
        api={"port": port, "host": host},
    )
    _run(settings, home, ("api",), file=file, switch=switch_alias)


def _precision(name: str | None) -> str | None:
    if name is not None and name not in PRECISIONS:
        raise refuse(f"--precision is {name!r}: say one of {', '.join(PRECISIONS)}")
    return name and PRECISIONS[name]


def _require_keys(config: Config) -> None:
    """Ends the command where a hosted model's key is not there."""
    try:
        for hosted in config.list_hosted():
            hosted.read_key()
    except MissingKey as error:
        raise refuse(str(error)) from error


def _run(
    config: Config, home: Path, roles: tuple[str, ...], *, file: Path | None, switch: bool
) -> None:
    # Torch and Transformers are slow to import: only where they are needed.
    from liveweights.app.start import REFUSALS, passes
    from liveweights.app.supervisor import Supervisor

    start_logging()
    require_database(config, home)
    if config.gateway.upstream:
        roles = ("gateway",)
    else:
        for model in config.list_models():
            require_model(model.base)
        _require_keys(config)
    try:
        supervisor = Supervisor(config, home.resolve(), roles, switch=switch, file=file)
        asyncio.run(supervisor.run())
    except (*REFUSALS, psycopg.Error) as error:
        told = str(error)
        if isinstance(error, psycopg.Error):
            told = f"The database refuses: {' '.join(told.split())}"
        refused = refuse(told)
        raise (typer.Exit(AWAY) if passes(error) else refused) from error
    except GaveUp as error:
        refused = refuse(str(error))
        raise (refused if error.permanent else typer.Exit(1)) from error
