"""What rounding to ternary weights loses, and what training gets back: the packaged model, dense,
rounded, rounded with errors fed back, and distilled on more and more tokens.

Perplexity on code and on prose that nothing was calibrated or trained on, bytes of weights, and
the seconds that training took. The curve over tokens is continued as a power law through its
last points; how far that carries is not known. Work is kept in --folder: distillation that
was stopped goes on there with the same options.
"""

from __future__ import annotations

import math
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _report import arguments, finish, table
from liveweights.config import Config
from liveweights.figures import save_figure
from liveweights.learn.updaters.load import load_model
from liveweights.replay.corpus import Corpus
from liveweights.ternary.calibration import chunk_texts, perplexity
from liveweights.ternary.conversion import Options, convert
from liveweights.ternary.distillation import Distiller, Training
from liveweights.weights.content import weight_files
from liveweights.weights.models import DEFAULT_MODEL, find, load_tokenizer
from liveweights.weights.ternary.folder import replace_matrices

GROUP = 64
"""What the packaged model's rows of 576 divide by."""
LENGTH = 256
ROWS = 4
"""Rows of a step."""
CALIBRATED, HELD_OUT = 24, 16
"""Rows: of the calibration, and of each measurement."""


@dataclass(frozen=True)
class Texts:
    """Rows of tokens [B, T]: to calibrate and train on, half code and half prose in turn, and to
    measure on."""

    train: torch.Tensor
    code: torch.Tensor
    prose: torch.Tensor


@dataclass(frozen=True)
class Quality:
    """``tokens`` are those that were trained on, in ``seconds``."""

    what: str
    code: float
    prose: float
    bytes: int
    tokens: int = 0
    seconds: float = 0.0


def read_texts(tokenizer: Any, tokens: int) -> Texts:
    """Code of this machine's Python packages, as replayed developers type it; prose of Python's
    help. Files and topics that are measured on are not trained on."""
    from pydoc_data.topics import topics

    split = Corpus.find().split()
    pages = [topics[name] for name in sorted(topics)]
    sources = (
        ([file.text for file in split.training], [file.text for file in split.held_out_files]),
        ([p for n, p in enumerate(pages) if n % 4], pages[::4]),
    )

    def rows(texts: Sequence[str], count: int) -> torch.Tensor:
        ids: list[int] = []
        for text in texts:
            ids += tokenizer.encode(text[:8000], add_special_tokens=False)
            if len(ids) >= count * LENGTH:
                break
        return chunk_texts(ids[: count * LENGTH], LENGTH)

    half = max(CALIBRATED, -(-tokens // (2 * LENGTH)))
    trained = [rows(train, half) for train, _ in sources]
    count = min(map(len, trained))
    mixed = torch.stack([one[:count] for one in trained], dim=1).reshape(-1, LENGTH)
    code, prose = (rows(held, HELD_OUT) for _, held in sources)
    return Texts(mixed, code, prose)


def look(model: Any, texts: Texts, what: str, size: int, **spent: Any) -> Quality:
    found = Quality(what, perplexity(model, texts.code), perplexity(model, texts.prose), size,
                    **spent)  # fmt: skip
    print(f"{what}: code {found.code:.2f}, prose {found.prose:.2f}", flush=True)
    return found


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in weight_files(folder))


def round_both(source: Path, place: Path, texts: Texts) -> list[Quality]:
    """Each weight by itself, and with errors fed back; the second is ``place / "rounded"``."""
    found: list[Quality] = []
    for name, feedback in (("plain", False), ("rounded", True)):
        target = place / name
        if not target.exists():
            options = Options(group=GROUP, feedback=feedback)
            ids_BT = torch.cat([texts.train[:CALIBRATED], texts.code[:1]])
            convert(source, target, ids_BT, options, lambda *_: None)
        what = "errors fed back" if feedback else "rounded"
        model = load_model(target, torch.float32, torch.device("cpu"))
        found.append(look(model, texts, what, size_of(target)))
    return found


def distil(
    source: Path, place: Path, texts: Texts, steps: int, points: Sequence[int], rate: float
) -> list[Quality]:
    """From ``place / "rounded"``, looked at after so many steps; the end is ``place /
    "distilled-STEPS"``."""
    device = torch.device("cpu")
    teacher = load_model(source, torch.float32, device)
    student = load_model(place / "rounded", torch.float32, device)
    size = size_of(place / "rounded")
    training = Training(steps=steps, rows=ROWS, learning_rate=rate, warmup=min(20, steps // 4),
                        save_every=10)  # fmt: skip
    distiller = Distiller(teacher, student, texts.train, training, place / f"state-{steps}-{rate}")
    found: list[Quality] = []
    spent, began = 0.0, time.perf_counter()

    def tell(step: int, loss: float) -> None:
        nonlocal spent, began
        spent += time.perf_counter() - began
        print(f"step {step} of {steps}: {loss:.3f} nats, {spent:.0f} s", flush=True)
        if step in points or step == steps:
            tokens = step * ROWS * LENGTH
            found.append(
                look(student, texts, f"{tokens:,} tokens", size, tokens=tokens, seconds=spent)
            )
        began = time.perf_counter()

    distiller.run(tell)
    target = place / f"distilled-{steps}"
    if not target.exists():
        replace_matrices(place / "rounded", target, distiller.matrices())
    return found


def extrapolate(found: Sequence[Quality], goal: float) -> tuple[float, float] | None:
    """The power of tokens by which the perplexity on code falls, from the last three points, and
    the tokens at which it would be ``goal`` were it to go on so; None where these do not fall."""
    last = found[-3:]
    values = [one.code for one in last]
    if len(last) < 3 or values != sorted(values, reverse=True) or values[0] == values[-1]:
        return None
    x = np.log([one.tokens for one in last])
    y = np.log([one.code for one in last])
    slope, offset = np.polyfit(x, y, 1)
    return float(slope), math.exp((math.log(goal) - offset) / slope)


def draw(found: Sequence[Quality], target: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    trained = [one for one in found if one.tokens]
    dense, _, begun = found[:3]
    for kind, colour in (("code", "tab:blue"), ("prose", "tab:orange")):
        values = [getattr(one, kind) for one in trained]
        axes.plot([one.tokens for one in trained], values, "o-", color=colour, label=kind)
        axes.axhline(getattr(dense, kind), color=colour, linestyle=":")
        axes.axhline(getattr(begun, kind), color=colour, linestyle="--", alpha=0.5)
    axes.set(xscale="log", yscale="log", xlabel="tokens of distillation", ylabel="perplexity",
             title="dotted: the dense model; dashed: before training")  # fmt: skip
    axes.legend()
    save_figure(figure, target)


def work_folder(quick: bool) -> Path:
    """Where work is kept, that of brief runs apart."""
    name = "ternary-quality-quick" if quick else "ternary-quality"
    return Config().cache_folder() / "bench" / name


def run(options: Namespace) -> dict[str, Any]:
    cache = Config().cache_folder()
    base = find(DEFAULT_MODEL, cache)
    place = Path(options.folder) if options.folder else work_folder(options.quick)
    place.mkdir(parents=True, exist_ok=True)
    steps = max(1, options.tokens // (ROWS * LENGTH))
    texts = read_texts(load_tokenizer(base), options.tokens)
    model = load_model(base.folder, torch.float32, torch.device("cpu"))
    found = [look(model, texts, "dense", size_of(base.folder))]
    del model
    found += round_both(base.folder, place, texts)
    points = {round(steps * share) for share in (1 / 16, 1 / 8, 1 / 4, 1 / 2)}
    trained = distil(base.folder, place, texts, steps, sorted(points), options.rate)
    found += trained
    figures: dict[str, Any] = {"threads": torch.get_num_threads(), "each": map(asdict, found)}
    figures["each"] = list(figures["each"])
    law = extrapolate(trained, 2 * found[0].code)
    if law is None:
        print("the last points do not fall: they are continued by nothing")
    else:
        power, tokens = law
        speed = trained[-1].tokens / trained[-1].seconds
        figures |= {"power": power, "tokens_to_twice_dense": tokens, "tokens_per_second": speed}
        print(
            f"perplexity on code goes as tokens to the power {power:.3f}; were that to go on, "
            f"twice the dense model's would be reached at {tokens:.3g} tokens, "
            f"{tokens / speed / 3600:.3g} hours at {speed:.1f} tokens a second"
        )
    if options.plot:
        draw(found, Path(options.plot))
    return figures


def main() -> None:
    options = arguments(
        __doc__ or "",
        tokens=(61_440, "tokens to train on"),
        rate=(1e-4, "the optimizer's step size"),
        folder=("", "where work is kept; empty: in the cache"),
        plot=("", "draw the curve: .svg, .png or .pdf"),
    )
    if options.quick:
        options.tokens = 2 * ROWS * LENGTH
    figures = run(options)
    columns = ("what", "code", "prose", "bytes", "tokens", "seconds")
    rows = [[one[name] for name in columns] for one in figures["each"]]
    table(f"Perplexity, {figures['threads']} threads", columns, rows)
    finish("ternary_quality", options, figures, {})


if __name__ == "__main__":
    main()
