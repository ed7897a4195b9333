"""What PEFT makes of two adapters is an adapter that can be served."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from liveweights.sharing.merging import CannotMerge, merge_adapters
from liveweights.sharing.method import METHODS, Method
from liveweights.sharing.source import Source
from liveweights.weights.checkpoint import Checkpoint

from .tiny import make_base, open_adapter, write_adapter


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> tuple[Source, Source]:
    folder = tmp_path_factory.mktemp("merging")
    base = make_base(folder)
    return write_adapter(base, folder / "one", 1), write_adapter(base, folder / "two", 2)


def merge(
    parts: tuple[Source, Source],
    folder: Path,
    method: Method,
    weights: tuple[float, float] = (0.5, 0.5),
    seed: int = 0,
) -> int:
    one, two = parts
    given = {one.checkpoint: weights[0], two.checkpoint: weights[1]}
    return merge_adapters(given, one.base, method, folder, density=0.5, seed=seed)


def deltas(folder: Path, scale: float) -> dict[str, torch.Tensor]:
    """What an adapter adds to each matrix."""
    tensors = load_file(folder / "adapter_model.safetensors")
    return {
        name: scale * tensors[name.replace("lora_A", "lora_B")] @ tensors[name]
        for name in tensors
        if "lora_A" in name
    }


def test_a_concatenation_is_the_weighted_sum(parts: tuple[Source, Source], tmp_path: Path) -> None:
    assert merge(parts, tmp_path / "out", "cat", (0.25, 2.0)) == 8
    merged = deltas(tmp_path / "out", 1.0)
    one, two = (deltas(part.checkpoint.folder, 2.0) for part in parts)
    assert merged.keys() == one.keys()
    for name, values in merged.items():
        torch.testing.assert_close(values, 0.25 * one[name] + 2.0 * two[name])


@pytest.mark.parametrize("method", METHODS)
def test_every_method_makes_what_can_be_served(
    parts: tuple[Source, Source], tmp_path: Path, method: Method
) -> None:
    assert merge(parts, tmp_path / "out", method) == (8 if method == "cat" else 4)
    assert {one.name for one in (tmp_path / "out").iterdir()} >= {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert (tmp_path / "out" / "merged").exists() is False


def test_a_seed_fixes_what_is_dropped(parts: tuple[Source, Source], tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        merge(parts, tmp_path / name, "dare-ties", seed=seed)
    a, b, c = ((tmp_path / name / "adapter_model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


def test_what_does_not_fit_together_says_why(parts: tuple[Source, Source], tmp_path: Path) -> None:
    one, _ = parts
    open_adapter(one.base, 3, rank=2).save_pretrained(str(tmp_path / "small"))
    small = replace(one.checkpoint, id="tiny@3", folder=tmp_path / "small")
    other = Source(small, one.base, one.base)
    with pytest.raises(CannotMerge, match=r"PEFT does not merge them as linear: .*same r"):
        merge((one, other), tmp_path / "out", "linear")
    elsewhere = Source(replace(small, base="tiny@ffffffffffff"), one.base, one.base)
    with pytest.raises(CannotMerge, match="tiny@3 is no adapter on tiny@"):
        merge((one, elsewhere), tmp_path / "out", "cat")
    whole = Checkpoint("tiny@4", "full", tmp_path, one.base.id, one.base.id)
    with pytest.raises(CannotMerge, match="tiny@4 is no adapter on tiny@"):
        merge((Source(whole, whole, one.base), one), tmp_path / "out", "cat")
