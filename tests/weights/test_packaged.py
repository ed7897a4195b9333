from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from liveweights.weights.packaged import convert, packaged_gguf


@pytest.mark.model
@pytest.mark.slow
def test_the_weights_are_those_that_transformers_reads(tmp_path: Path) -> None:
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    gguf_file = packaged_gguf()
    assert gguf_file is not None
    ours = load_file(convert(gguf_file, tmp_path) / "model.safetensors")
    model: Any = AutoModelForCausalLM.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name)
    theirs: dict[str, Any] = model.state_dict()
    assert theirs.keys() - ours.keys() == {"lm_head.weight"}
    assert all(theirs[name].equal(tensor) for name, tensor in ours.items())
