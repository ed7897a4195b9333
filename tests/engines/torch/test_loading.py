"""One model at a time is read in a process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from tests.learn.families import make_family

from liveweights.learn.updaters.load import load_model
from liveweights.weights.loading import LOADING


def test_a_model_is_read_when_no_other_is(tmp_path: Path) -> None:
    folder = make_family("qwen3", tmp_path / "tiny")
    cpu = torch.device("cpu")
    load_model(folder, torch.float32, cpu)  # what is imported at first is imported now
    with ThreadPoolExecutor(1) as pool:
        with LOADING:
            waiting = pool.submit(load_model, folder, torch.float32, cpu)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=2)
        assert all(bool(p.isfinite().all()) for p in waiting.result(timeout=60).parameters())
