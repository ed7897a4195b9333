from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.learn.updaters.conformance import UpdaterConformance, learn, scores

from liveweights.learn.policy import Policy
from liveweights.learn.settings import LearnSettings


class TestFullWeights(UpdaterConformance):
    @pytest.fixture
    def base(self, moe: Path) -> Path:
        return moe

    @pytest.fixture
    def settings(self) -> LearnSettings:
        return LearnSettings(updater="full", full_learning_rate=2e-3, epochs=2, nodes=64)


def test_full_weights_go_on_from_an_adapter(moe: Path, tmp_path: Path) -> None:
    lora = LearnSettings(rank=4, learning_rate=5e-3, nodes=64)
    adapted = Policy(moe, None, lora)
    learn(adapted, lora)
    adapted.save(tmp_path / "adapter")
    whole = Policy(moe, tmp_path / "adapter", LearnSettings(updater="full", nodes=64))
    assert torch.allclose(scores(whole), scores(adapted), atol=0.05)
