"""Checkpoints of a home are known by their files."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from liveweights.catalog.recognition import read_evidence
from liveweights.catalog.stored import CHECKPOINTS, Stored, find_stored
from liveweights.weights.registry import Registry

BASE = "tiny@0123456789ab"


def make_adapter(folder: Path, value: float) -> Path:
    folder.mkdir()
    save_file({"lora_A": torch.full((2, 2), value)}, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    return folder


def test_a_copy_of_a_stored_checkpoint_is_it_and_no_other(tmp_path: Path) -> None:
    home, ours, others = tmp_path / "home", tmp_path / "ours", tmp_path / "others"
    registry = Registry(home / CHECKPOINTS)
    make_adapter(ours, 1.0)
    assert find_stored(read_evidence(ours, tmp_path).weights, home) == []
    stored = registry.store(ours, "tiny", kind="adapter", base=BASE, parent=BASE, card={})
    registry.store(
        make_adapter(others, 2.0), "tiny", kind="adapter", base=BASE, parent=stored.id, card={}
    )
    found = find_stored(read_evidence(ours, tmp_path).weights, home)
    assert found == [Stored(stored.id, BASE, BASE)]
    assert find_stored(frozenset(), home) == []
    unknown = read_evidence(make_adapter(tmp_path / "new", 3.0), tmp_path).weights
    assert find_stored(unknown, home) == []


def test_a_damaged_card_is_of_no_checkpoint(tmp_path: Path) -> None:
    for number, text in enumerate(("{}", "[", '{"files": 3}')):
        folder = tmp_path / CHECKPOINTS / f"tiny@{number}"
        folder.mkdir(parents=True)
        (folder / "card.json").write_text(text)
    assert find_stored({"0" * 64}, tmp_path) == []
