"""Whole weights of others: what fits is kept as a difference, anything else is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.weights.gguf_files import write_gguf

from liveweights.sharing.finetuned import take_finetuned
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.delta import restore
from liveweights.weights.foreign import ForeignError
from liveweights.weights.models import find

from .tiny import make_base

Tensors = dict[str, torch.Tensor]
Make = Callable[..., Path]
NORM = "model.norm.weight"


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return make_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def make(base: Checkpoint, tmp_path: Path) -> Make:
    """A folder of somebody else: the base with a longer last norm, which ``change`` may change."""

    def write(change: Callable[[Tensors], object] | None = None, **card: Any) -> Path:
        folder = tmp_path / "theirs"
        shutil.copytree(base.folder, folder)
        tensors = load_file(folder / "model.safetensors")
        tensors[NORM] = tensors[NORM] * 1.5
        if change:
            change(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        if card:
            (folder / "card.json").write_text(json.dumps(card))
        return folder

    return write


def test_the_difference_makes_the_same_weights_again(
    make: Make, base: Checkpoint, tmp_path: Path
) -> None:
    folder = make(root=base.id)
    (folder / "chat_template.jinja").write_text("{{ theirs }}")
    taken = take_finetuned(folder, base, tmp_path / "delta")
    assert taken.changed == 32
    whole = restore(base.folder, tmp_path / "delta", "tiny@1", tmp_path / "cache")
    ours, theirs = (load_file(one / "model.safetensors") for one in (whole, folder))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not (whole / "chat_template.jinja").exists()


def rename(tensors: Tensors) -> None:
    tensors["model.norm.other"] = tensors.pop(NORM)


def put(value: torch.Tensor) -> Callable[[Tensors], object]:
    return lambda tensors: tensors.update({NORM: value})


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda tensors: tensors.update({NORM: tensors[NORM] / 1.5}), "it changes nothing"),
        (put(torch.ones(31)), "is 31; in .* it is 32: it is of another base"),
        (put(torch.full((32,), float("nan"))), "not all numbers"),
        (rename, "it has model.norm.other, which"),
        (lambda tensors: tensors.update(more=torch.ones(1)), "it has more, which"),
        (lambda tensors: tensors.clear(), "it has no "),
    ],
)
def test_what_is_of_no_use_here_is_refused(
    make: Make, base: Checkpoint, tmp_path: Path, change: Any, why: str
) -> None:
    with pytest.raises(ForeignError, match=why):
        take_finetuned(make(change), base, tmp_path / "delta")


def test_files_say_what_they_are(make: Make, base: Checkpoint, tmp_path: Path) -> None:
    folder = make(base="tiny@ffffffffffff")
    with pytest.raises(ForeignError, match="it was made on tiny@ffffffffffff"):
        take_finetuned(folder, base, tmp_path / "delta")
    (folder / "card.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"x": "y.Z"}}))
    with pytest.raises(ForeignError, match="code of its own"):
        take_finetuned(folder, base, tmp_path / "delta")
    (folder / "config.json").write_text(json.dumps(config))
    tokenizer = (folder / "tokenizer.json").read_text()
    (folder / "tokenizer.json").write_text(tokenizer.replace('"A": ', '"A\\u0100": ', 1))
    with pytest.raises(ForeignError, match="its vocabulary is not that of"):
        take_finetuned(folder, base, tmp_path / "delta")
    (folder / "training_args.bin").write_bytes(b"")
    with pytest.raises(ForeignError, match="may be a pickle"):
        take_finetuned(folder, base, tmp_path / "delta")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ForeignError, match="no safetensors"):
        take_finetuned(tmp_path / "empty", base, tmp_path / "delta")


def test_weights_that_were_trained_apart_are_of_another_base(
    make: Make, base: Checkpoint, tmp_path: Path
) -> None:
    """Of the same shape in everything: only the numbers tell."""

    def grow(tensors: Tensors, seed: int) -> None:
        torch.manual_seed(seed)
        for name in [one for one in tensors if one.endswith("up_proj.weight")]:
            tensors[name] = torch.randn(64, 128)

    shutil.copytree(base.folder, tmp_path / "wide")
    tensors = load_file(tmp_path / "wide" / "model.safetensors")
    grow(tensors, 1)
    save_file(tensors, tmp_path / "wide" / "model.safetensors", metadata={"format": "pt"})
    wide = replace(base, folder=tmp_path / "wide")
    with pytest.raises(ForeignError, match="not alike those of"):
        take_finetuned(make(lambda tensors: grow(tensors, 2)), wide, tmp_path / "delta")


def test_a_gguf_base_takes_adapters_only(make: Make, tmp_path: Path) -> None:
    on = find(str(write_gguf(tmp_path / "m.gguf", "qwen3", pre="qwen2")), tmp_path / "cache")
    with pytest.raises(ForeignError, match="import an adapter"):
        take_finetuned(make(), on, tmp_path / "delta")
