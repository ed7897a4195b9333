"""``liveweights ternary``: models whose weights are -1, 0 and 1."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from liveweights import bounds
from liveweights.catalog.check import check_model
from liveweights.cli.context import HOME, Home, Json, Settings, read_config, refuse
from liveweights.cli.output import say, show, show_json
from liveweights.cli.rules import check_export
from liveweights.cli.ternary_texts import note_texts, read_noted, read_texts, recorded_in
from liveweights.terminal import clean
from liveweights.weights.models import ModelNotFound, find

if TYPE_CHECKING:
    from liveweights.ternary.conversion import Conversion
    from liveweights.weights.ternary.layout import Packing
    from liveweights.weights.ternary.writing import Tell

ternary = typer.Typer(
    no_args_is_help=True,
    help="Models whose weights are -1, 0 and 1, a sixth to an eighth of 16-bit ones; see "
    "docs/ternary.md. The engine `ternary` serves them.",
)
Texts = Annotated[
    list[Path] | None,
    typer.Option("--text", help="A file of UTF-8 text to read; may be given repeatedly."),
]
Recorded = Annotated[
    bool,
    typer.Option(
        "--recorded",
        help="Read what the service of --home recorded of models on MODEL, too: answers of those "
        "who agreed to training, with what was asked, newest first.",
    ),
]
Packed = Annotated[
    str, typer.Option(help="2bit, or base3: a fifth smaller, unpacked when it is loaded.")
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
    text: Texts = None,
    recorded: Recorded = False,
    group: Annotated[
        int, typer.Option(help="Weights that share a scale: 64, 128 or 256.", min=64, max=256)
    ] = 128,
    packing: Packed = "2bit",
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
    settings = read_config(config, home)
    check_export(settings, home, model)
    options = Options(
        group=group, packing=_packing(packing), embeddings=embeddings, feedback=feedback
    )
    try:
        cache = settings.cache_folder()
        base = find(model, cache)
        asyncio.run(check_model(base, model, "torch", cache))
        read = read_texts(base, text or [], rows * length, recorded_in(settings, home, recorded))
        with bar(f"Converting {base.name}") as tell:
            made = make(base.folder, target, chunk_texts(read.ids, length), options, tell)
        note_texts(target, read)
    except (ModelNotFound, ValueError, OSError) as error:
        raise refuse(str(error)) from error
    _report(target, made, as_json)


@ternary.command("import")
def import_(
    model: Annotated[
        str,
        typer.Argument(help="GGUF file, checkpoint folder or hf://ORG/NAME, of ternary weights."),
    ],
    target: Annotated[Path, typer.Argument(help="Folder to write; it must not exist.")],
    packing: Packed = "2bit",
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Take over a ternary checkpoint of others, without losing a bit.

    GGUF files with ternary blocks, MLX's 2-bit layout, and 16-bit weights whose values are ternary
    (all forms of Ternary Bonsai). Those in a turned basis (Hadamard) are refused.
    """
    from liveweights.ternary.importing import import_checkpoint

    settings = read_config(config, home)
    try:
        base = find(model, settings.cache_folder())
        made = import_checkpoint(base.folder, target, _packing(packing))
    except (ModelNotFound, ValueError, OSError) as error:
        raise refuse(str(error)) from error
    if as_json:
        show_json(made)
        return
    say(
        f"{target}: {made.matrices} ternary matrices with a scale per {made.group} weights, "
        f"{made.others} other tensors"
    )


@ternary.command()
def train(
    model: Annotated[
        str, typer.Argument(help="The dense model that was converted: it is the teacher.")
    ],
    start: Annotated[Path, typer.Argument(help="The folder that `ternary convert` wrote.")],
    target: Annotated[Path, typer.Argument(help="Folder to write; it must not exist.")],
    state: Annotated[
        Path, typer.Option(help="Folder in which training is kept: the same command goes on there.")
    ],
    text: Texts = None,
    recorded: Recorded = False,
    steps: Annotated[int, typer.Option(help="Steps in all.", min=1, max=bounds.COUNT)] = 200,
    rows: Annotated[int, typer.Option(help="Rows of text in a step.", min=1, max=4096)] = 4,
    length: Annotated[int, typer.Option(help="Tokens of a row.", min=16, max=32768)] = 256,
    tokens: Annotated[
        int, typer.Option(help="Tokens of text that are read.", min=64, max=bounds.COUNT)
    ] = 1_000_000,
    learning_rate: Annotated[
        float, typer.Option(help="AdamW's step size.", min=1e-8, max=1.0)
    ] = 1e-4,
    save_every: Annotated[
        int, typer.Option(help="Steps from one saving to the next.", min=1, max=bounds.COUNT)
    ] = 50,
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Train a ternary model to say what the dense one says (knowledge distillation).

    Weights are learnt through their rounding, scales with them. It holds both models, and four
    times the ternary weights in 32 bits. Stopped, it goes on where it last saved. The rules of use
    for `export` are applied; see docs/terms.md.
    """
    import torch

    from liveweights.learn.updaters.load import load_model
    from liveweights.ternary.calibration import chunk_texts, perplexity
    from liveweights.ternary.compilation import chosen
    from liveweights.ternary.distillation import STATE, CannotTrain, Distiller, Training
    from liveweights.weights.ternary.folder import replace_matrices
    from liveweights.weights.ternary.layout import read_layout

    settings = read_config(config, home)
    check_export(settings, home, model)
    try:
        if target.exists():
            raise CannotTrain(f"{target} is there already")
        if read_layout(start) is None:
            raise CannotTrain(f"{start} is no folder that `liveweights ternary convert` wrote")
        chosen()  # before anything is read
        base = find(model, settings.cache_folder())
        begun = read_noted(state) if (state / STATE).is_file() else None
        read = read_texts(base, text or [], tokens, recorded_in(settings, home, recorded), begun)
        ids = chunk_texts(read.ids, length)
        device = torch.device("cpu")
        teacher = load_model(base.folder, torch.float32, device)
        student = load_model(start, torch.float32, device)
        held_back = max(1, min(16, len(ids) // 8))
        plan = Training(steps=steps, rows=rows, learning_rate=learning_rate, save_every=save_every)
        before = perplexity(student, ids[-held_back:])
        distiller = Distiller(teacher, student, ids[:-held_back], plan, state)
        note_texts(state, read)
        with bar(f"Training {start.name}") as tell:
            distiller.run(
                lambda step, loss: tell(f"{loss:.3f} nats from the dense model", step, steps)
            )
        after = perplexity(student, ids[-held_back:])
        replace_matrices(start, target, distiller.matrices())
        note_texts(target, read, start)
    except (ModelNotFound, ValueError, OSError) as error:
        raise refuse(str(error)) from error
    made = {"steps": distiller.step, "tokens": steps * rows * length,
            "perplexity_before": before, "perplexity_after": after,
            "dense_perplexity": perplexity(teacher, ids[-held_back:])}  # fmt: skip
    if as_json:
        show_json(made)
        return
    say(
        f"{target}: perplexity {after:.2f} on text that was not trained on, {before:.2f} before, "
        f"{made['dense_perplexity']:.2f} of the dense model, after {made['tokens']:,} tokens"
    )


@ternary.command()
def export(
    model: Annotated[
        str, typer.Argument(help="Folder of a ternary checkpoint (`convert`, `train`, `import`).")
    ],
    target: Annotated[Path, typer.Argument(help="GGUF file to write; it must not exist.")],
    kind: Annotated[
        str,
        typer.Option(
            "--type",
            help="Blocks: Q2_0, TQ2_0 or TQ1_0 for llama.cpp, PQ2_0 or PTQ1_0 for PrismML's fork. "
            "auto: TQ2_0 where 256 weights share a scale, else Q2_0.",
        ),
    ] = "auto",
    home: Home = HOME,
    config: Settings = None,
    as_json: Json = False,
) -> None:
    """Write a ternary checkpoint as GGUF, without losing a bit of its ternary weights.

    TQ2_0 and TQ1_0 have a scale per 256 weights, Q2_0 per 64, PQ2_0 and PTQ1_0 per 128; larger
    groups are written as several smaller ones, never the other way. What is not ternary is in 16
    bits. The rules of use for `export` are applied; see docs/terms.md.
    """
    from liveweights.weights.ternary.blocks import SIZES, BlockType
    from liveweights.weights.ternary.writing import write_gguf

    known: dict[str, BlockType] = {name: name for name in SIZES}
    blocks = known.get(kind)
    if blocks is None and kind != "auto":
        raise refuse(f"--type is {kind!r}: it may be auto or one of {', '.join(SIZES)}")
    settings = read_config(config, home)
    check_export(settings, home, model)
    try:
        found = find(model, settings.cache_folder())
        with bar(f"Writing {target.name}") as tell:
            written = write_gguf(found, target, blocks, tell)
    except (ModelNotFound, ValueError, OSError) as error:
        raise refuse(str(error)) from error
    if as_json:
        show_json(written)
        return
    say(
        f"{target}: {written.matrices} ternary matrices as {written.kind}, {written.others} other "
        f"tensors, {written.bytes:,} bytes"
    )


def _packing(text: str) -> Packing:
    if text == "2bit" or text == "base3":
        return text
    raise refuse(f"--packing is {text!r}: it may be 2bit or base3")


@contextmanager
def bar(title: str) -> Generator[Tell]:
    """A bar on standard error; what it returns says how far the work is."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
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
        f"{target}: {made.ternary_bytes:,} bytes of weights, {made.dense_bytes:,} before; "
        f"perplexity {made.ternary_perplexity:.2f} on text that was not calibrated on, "
        f"{made.dense_perplexity:.2f} before"
    )
    if made.ternary_perplexity > 2 * made.dense_perplexity:
        say("it needs training before anybody is served with it", fg="yellow", err=True)
