"""``liveweights config`` and ``liveweights version``."""

from __future__ import annotations

import typer

from liveweights import __version__
from liveweights.cli.context import Settings, read_config
from liveweights.cli.reference import toml_of


def show_config(config: Settings = None) -> None:
    """Print the settings in force, with every key."""
    typer.echo(toml_of(read_config(config, None)))


def version() -> None:
    """Print the version."""
    typer.echo(__version__)
