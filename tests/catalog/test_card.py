from __future__ import annotations

from pathlib import Path

import pytest

from liveweights.catalog.card import read_card
from liveweights.weights.checkpoint import Checkpoint


@pytest.mark.model
def test_the_packaged_model_s_card(base: Checkpoint, model_cache: Path) -> None:
    facts = read_card(base, model_cache)
    assert facts["architecture"] == "LlamaForCausalLM"
    assert facts["parameters"] == 134_515_008
    assert facts["context"] == 8192
    assert facts["licence"] == "apache-2.0"
    assert {"model.safetensors", "tokenizer.json", "config.json"} <= set(facts["files"])
