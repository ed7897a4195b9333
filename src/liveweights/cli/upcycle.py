"""``liveweights upcycle``: a mixture of experts of a dense model."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from liveweights import bounds
from liveweights.catalog.check import check_model
from liveweights.cli.context import HOME, Home, Json, Settings, read_config, refuse
from liveweights.cli.output import say, show_json
from liveweights.cli.rules import check_export
from liveweights.weights.models import ModelNotFound, find


def upcycle(
    model: Annotated[
        str, typer.Argument(help="Packaged name, checkpoint folder or hf://ORG/NAME.")
    ],
    target: Annotated[Path, typer.Argument(help="Folder to write; it must not exist.")],
    experts: Annotated[int, typer.Option(help="Copies of each layer's MLP.", min=2, max=4096)] = 4,
    top_k: Annotated[
        int, typer.Option(help="Experts that each token goes through.", min=1, max=4096)
    ] = 2,
    seed: Annotated[
        int, typer.Option(min=0, max=bounds.COUNT, help="Of the router's random weights.")
    ] = 0,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Make a mixture of experts that computes what a dense model does (arXiv 2212.05055).

    The rules of use for `export` are applied; see docs/terms.md.
    Serve it with `liveweights up --model TARGET --engine torch`; updates make its experts differ.
    """
    # Torch and Transformers are slow to import: only where they are needed.
    from liveweights.weights.upcycle import upcycle as make

    settings = read_config(config, home)
    check_export(settings, home, model)
    try:
        cache = settings.cache_folder()
        base = find(model, cache)
        asyncio.run(check_model(base, model, "torch", cache))
        made = make(base.folder, target, experts=experts, top_k=top_k, seed=seed)
    except (ModelNotFound, ValueError, OSError) as error:
        raise refuse(str(error)) from error
    if as_json:
        show_json(made)
        return
    say(
        f"{target}: {made.whole:,} parameters, {made.active:,} of them for each token"
        f" ({base.id}: {made.dense:,}); logits differ by at most {made.difference:.1e}"
    )
