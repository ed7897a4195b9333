"""``liveweights lsp``: the language server that editors start."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from liveweights.cli.context import refuse
from liveweights.editor.settings import EditorSettings


def lsp(
    url: Annotated[str, typer.Option(help="Of the service.")] = EditorSettings().url,
    model: Annotated[str, typer.Option(help="Public name of the model.")] = EditorSettings().model,
    key: Annotated[str, typer.Option(envvar="OPENAI_API_KEY", help="API key.")] = "",
) -> None:
    """Suggest in an editor and send what becomes of it: a language server over standard input and
    output. The editor's own settings go over these; without its `consent` nothing is sent."""
    try:
        defaults = msgspec.convert({"url": url, "model": model, "key": key}, EditorSettings)
    except msgspec.ValidationError as error:
        raise refuse(f"{error}: see `liveweights lsp --help`") from error
    try:
        from liveweights.editor.server import make_server
    except ImportError as error:
        raise refuse(
            "the language server needs its extra: pip install 'liveweights[editor]'"
        ) from error
    make_server(defaults).start_io()
