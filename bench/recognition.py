"""Is a checkpoint recognised, and never taken for what it is not?

Changes the packaged model in every way that people change models, and asks of each what it is and
whether its weights are alike the packaged ones. Then: how far matrices correlate that have nothing
to do with one another.

    python bench/recognition.py [--quick]
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, quants
from safetensors.torch import load_file, save_file

from liveweights.catalog.catalogue import Catalogue
from liveweights.catalog.recognition import read_evidence, recognise
from liveweights.catalog.similarity import compare_weights, correlate
from liveweights.config import Config
from liveweights.weights.models import DEFAULT_MODEL, find

Weights = dict[str, torch.Tensor]
WEIGHTS = "model.safetensors"


def matrices(weights: Weights, change: Callable[[torch.Tensor], torch.Tensor]) -> Weights:
    """With each matrix changed, and everything else as it is."""
    return {name: change(one) if one.dim() == 2 else one for name, one in weights.items()}


def quantise(kind: GGMLQuantizationType) -> Callable[[torch.Tensor], torch.Tensor]:
    def change(one: torch.Tensor) -> torch.Tensor:
        packed = quants.quantize(one.numpy(), kind)
        return torch.from_numpy(np.array(quants.dequantize(packed, kind)).reshape(one.shape))

    return change


def ternary(one: torch.Tensor) -> torch.Tensor:
    """Each value -1, 0 or 1 times the mean size in its group of 64."""
    groups = one.reshape(-1, 64)
    scale = groups.abs().mean(1, keepdim=True)
    return ((groups / scale).round().clamp(-1, 1) * scale).reshape(one.shape)


def moved(share: float, seed: int = 0) -> Callable[[torch.Tensor], torch.Tensor]:
    """By noise of so many times its own size."""
    generator = torch.Generator().manual_seed(seed)

    def change(one: torch.Tensor) -> torch.Tensor:
        return one + share * one.std() * torch.randn(one.shape, generator=generator)

    return change


def anew(one: torch.Tensor) -> torch.Tensor:
    return torch.randn(one.shape, generator=torch.Generator().manual_seed(one.numel())) * 0.02


def with_layers(weights: Weights, layers: list[int]) -> Weights:
    """Only those layers, in that order."""
    kept: Weights = {}
    for name, one in weights.items():
        if not name.startswith("model.layers."):
            kept[name] = one
            continue
        _, _, number, rest = name.split(".", 3)
        for place, layer in enumerate(layers):
            if int(number) == layer:
                kept[f"model.layers.{place}.{rest}"] = one.clone()
    return kept


def reordered(weights: Weights) -> Weights:
    """The neurons between the two matrices of each feed-forward block in another order: it
    computes the same."""
    order = torch.randperm(1536, generator=torch.Generator().manual_seed(0))
    changed = dict(weights)
    for name, one in weights.items():
        if "gate_proj" in name or "up_proj" in name:
            changed[name] = one[order].contiguous()
        elif "down_proj" in name:
            changed[name] = one[:, order].contiguous()
    return changed


def trained(base: Path, steps: int, rate: float) -> Weights:
    """All weights trained on a few lines, harder than anybody would."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, trust_remote_code=False)
    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    text = "What was learnt here is learnt from these few lines, over and over again. " * 8
    ids = tokenizer(text, return_tensors="pt").input_ids
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate)
    for _ in range(steps):
        model(input_ids=ids, labels=ids).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    return {name: one.detach() for name, one in model.state_dict().items() if name in NAMES}


NAMES = set[str]()
WHOLE = Weights()
"""Stands for the base's own file."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer changes and pairs")
    quick = parser.parse_args().quick
    torch.set_num_threads(1)
    cache = Config().cache_folder()
    base = find(DEFAULT_MODEL, cache)
    cards = list(Catalogue().cards.values())
    weights = load_file(base.folder / WEIGHTS)
    NAMES.update(weights)
    tuned = trained(base.folder, steps=2 if quick else 20, rate=1e-4)
    half = {name: (weights[name] + tuned[name]) / 2 for name in weights}
    layers = list(range(30))
    variants: list[tuple[str, str, bool, Weights, dict[str, object]]] = [
        ("a copy", "weights", True, WHOLE, {}),
        ("bfloat16", "shape", True, {n: w.bfloat16() for n, w in weights.items()}, {}),
        ("Q4_0", "shape", True, matrices(weights, quantise(GGMLQuantizationType.Q4_0)), {}),
        ("ternary", "shape", True, matrices(weights, ternary), {}),
        ("trained on", "shape", True, tuned, {}),
        ("half of it, half of what was trained on", "shape", True, half, {}),
        ("moved by 20% of its size", "shape", True, matrices(weights, moved(0.2)), {}),
        ("moved by 100% of its size", "shape", True, matrices(weights, moved(1.0)), {}),
        ("moved by 300% of its size", "shape", True, matrices(weights, moved(3.0)), {}),
        ("moved by 1000% of its size", "shape", False, matrices(weights, moved(10.0)), {}),
        ("initialised anew", "shape", False, matrices(weights, anew), {}),
        ("layers in reverse", "shape", True, with_layers(weights, layers[::-1]), {}),
        ("every third layer left out", "unknown", True,
         with_layers(weights, [n for n in layers if n % 3]), {"num_hidden_layers": 20}),
        ("feed-forward neurons in another order", "shape", True, reordered(weights), {}),
    ]  # fmt: skip
    wrong = 0
    print("| change | what is said | as it should | correlation with the base | alike |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, by, alike, changed, config) in enumerate(variants):
            folder = Path(scratch) / str(number)
            copy(base.folder, folder, changed, config)
            found = recognise(read_evidence(folder, Path(scratch)), cards)
            likeness = compare_weights(folder, base.folder)
            shutil.rmtree(folder)
            claims = all(card.family == "SmolLM2" for card in found.cards)
            right = found.by == by and claims and not (likeness.is_alike and not alike)
            wrong += not right
            said = ", ".join([found.by, *(card.name for card in found.cards)])
            print(
                f"| {name} | {said} | {'yes' if right else 'NO'} | {likeness.median:.3f} "
                f"({min(likeness.correlations):.3f} to {max(likeness.correlations):.3f}) "
                f"| {'yes' if likeness.is_alike else 'no'} |"
            )
    print(f"\n{wrong} wrong of {len(variants)}\n")
    unrelated(weights, 8 if quick else 30)


def copy(base: Path, folder: Path, weights: Weights, config: dict[str, object]) -> None:
    folder.mkdir()
    for file in base.iterdir():
        if file.name not in (WEIGHTS, "origin.json", "card.json"):
            shutil.copy(file, folder)
    settings = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(settings))
    if weights is WHOLE:
        shutil.copy(base / WEIGHTS, folder)
        return
    save_file({name: one.contiguous() for name, one in weights.items()}, folder / WEIGHTS)


def unrelated(weights: Weights, layers: int) -> None:
    """Pairs of matrices of one shape that do different things or stand in different layers."""
    found: list[float] = []
    for kinds in (("self_attn.q_proj", "self_attn.o_proj"), ("mlp.gate_proj", "mlp.up_proj")):
        names = [f"model.layers.{n}.{kind}.weight" for n in range(layers) for kind in kinds]
        rows = [rows_of(weights[name]) for name in names]
        found += [abs(correlate(a, b)) for a, b in itertools.combinations(rows, 2)]
    values = np.array(found)
    print(
        f"{len(values)} unrelated pairs: |r| median {np.median(values):.4f}, "
        f"99.9% below {np.quantile(values, 0.999):.4f}, highest {values.max():.4f}"
    )


def rows_of(one: torch.Tensor) -> torch.Tensor:
    count = min(one.shape[0], 65536 // one.shape[1])
    first = (one.shape[0] - count) // 2
    return one[first : first + count]


if __name__ == "__main__":
    main()
