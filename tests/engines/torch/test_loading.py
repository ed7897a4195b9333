"""Models that are read at the same time, and what is left behind."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from tests.learn.families import make_family

from liveweights.catalog.check import _build
from liveweights.learn.updaters.load import load_model


def test_models_that_are_read_at_the_same_time_have_their_weights(tmp_path: Path) -> None:
    folders = [make_family(name, tmp_path / name) for name in ("qwen3", "llama")]

    def read(number: int) -> bool:
        folder = folders[number % 2]
        if number % 3 == 2:
            _build(folder)
            return True
        model = load_model(folder, torch.float32, torch.device("cpu"))
        return all(p.device.type == "cpu" and bool(p.isfinite().all()) for p in model.parameters())

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(read, range(36)))
    assert torch.empty(1).device.type == "cpu"
    assert torch.nn.init.ones_(torch.empty(3)).tolist() == [1.0, 1.0, 1.0]
