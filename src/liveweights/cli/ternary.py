"""``liveweights ternary``: models whose weights are -1, 0 and 1."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from liveweights.catalog.check import check_model
from liveweights.cli.context import HOME, Home, Json, Settings, read_config, refuse
from liveweights.cli.output import say, show, show_json
from liveweights.cli.rules import check_export
from liveweights.terminal import clean
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import ModelNotFound, find, load_tokenizer

if TYPE_CHECKING:
    from liveweights.ternary.conversion import Conversion, Tell

ternary = typer.Typer(
    no_args_is_help=True,
    help="Models whose weights are -1, 0 and 1, a sixth to an eighth of 16-bit ones; see "
    "docs/ternary.md. The engine `ternary` serves them.",
)
Texts = Annotated[
    list[Path],
    typer.Option("--text", help="A file of UTF-8 text to calibrate on; may be given repeatedly."),
]


@ternary.callback()
def _all() -> None:
    """There are several commands: without this, a lone one would have no name."""


@ternary.command()
def convert(
    model: Annotated[
        str, typer.Argument(help="Packaged name, checkpoint folder or hf://ORG/NAME.")
    ],
    target: Annotated[Path, typer.Argument(help="Folder to write; it must not exist.")],
    text: Texts,
    group: Annotated[
        int, typer.Option(help="Weights that share a scale: 64, 128 or 256.", min=64, max=256)
    ] = 128,
    packing: Annotated[
        str, typer.Option(help="2bit, or base3: a fifth smaller, unpacked when it is loaded.")
    ] = "2bit",
    embeddings: Annotated[
        bool, typer.Option("--embeddings", help="Round embeddings and output layer too.")
    ] = False,
    feedback: Annotated[
        bool, typer.Option(help="Take back in later columns what earlier ones get wrong.")
    ] = True,
    rows: Annotated[int, typer.Option(help="Rows of text that are read.", min=2, max=4096)] = 64,
    length: Annotated[int, typer.Option(help="Tokens of a row.", min=16, max=32768)] = 512,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Round a dense model to -1, 0 and 1, with the errors fed back (as in arXiv 2210.17323).

    What comes out is a beginning: without training it is far worse than the dense model, and the
    last lines say by how much. The rules of use for `export` are applied; see docs/terms.md.
    """
    # Torch is slow to import: only where it is needed.
    from liveweights.ternary.calibration import chunk_texts
    from liveweights.ternary.conversion import Options
    from liveweights.ternary.conversion import convert as make

    if group not in (64, 128, 256):
        raise refuse(f"--group is {group}: it may be 64, 128 or 256")
    if packing not in ("2bit", "base3"):
        raise refuse(f"--packing is {packing!r}: it may be 2bit or base3")
    settings = read_config(config, home)
    check_export(settings, home, model)
    options = Options(group=group, packing=packing, embeddings=embeddings, feedback=feedback)
    try:
        cache = settings.cache_folder()
        base = find(model, cache)
        asyncio.run(check_model(base, model, "torch", cache))
        ids = read_ids(base, text, rows * length)
        with bar(f"Converting {base.name}") as tell:
            made = make(base.folder, target, chunk_texts(ids, length), options, tell)
    except (ModelNotFound, ValueError, OSError) as error:
        raise refuse(str(error)) from error
    _report(target, made, as_json)


def read_ids(base: Checkpoint, files: list[Path], most: int) -> list[int]:
    """The first tokens of the files, from each as many as from the others. Raises OSError,
    ValueError."""
    tokenizer = load_tokenizer(base)
    share = -(-most // len(files))
    ids: list[int] = []
    for file in files:
        try:
            words = file.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{file} is no UTF-8 text") from error
        # A token is seldom more than ten characters: what is certainly too much is not split.
        ids += tokenizer.encode(words[: share * 20], add_special_tokens=False)[:share]
    return ids[:most]


@contextmanager
def bar(title: str) -> Generator[Tell]:
    """A bar on standard error; what it returns says how far the work is."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns) as progress:
        task = progress.add_task(escape(clean(title)), total=None)

        def tell(what: str, done: int, total: int) -> None:
            text = escape(clean(f"{title}: {what}"))
            progress.update(task, completed=done, total=total, description=text)

        yield tell


def _report(target: Path, made: Conversion, as_json: bool) -> None:
    if as_json:
        show_json(made)
        return
    rows = [
        {"matrix": one.name, "loss": "" if one.loss is None else f"{one.loss:.4f}"}
        for one in made.matrices
    ]
    show(rows, ("matrix", "loss"), as_json=False)
    say(
        f"{target}: {made.ternary_bytes:,} bytes of weights, {made.dense_bytes:,} before; perplexity "
        f"{made.ternary_perplexity:.2f} on text that was not calibrated on, "
        f"{made.dense_perplexity:.2f} before"
    )
    if made.ternary_perplexity > 2 * made.dense_perplexity:
        say("it needs training before anybody is served with it", fg="yellow", err=True)
