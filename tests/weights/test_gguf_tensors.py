"""Weights that are read out of GGUF files, held against those that were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tests.weights.gguf_files import FAMILIES, make_model, write_gguf

from liveweights.weights.gguf_header import split_files
from liveweights.weights.gguf_tensors import read_linear_shapes, read_weights
from liveweights.weights.tensors import BrokenFile


def names_of(model: Any) -> list[str]:
    tied = model.config.tie_word_embeddings
    return [name for name in model.state_dict() if not (tied and name == "lm_head.weight")]


@pytest.mark.parametrize("parts", [1, 3])
@pytest.mark.parametrize("kind", ["f32", "f16", "q8_0", "q4_0", "q4_1"])
@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_those_that_were_quantised(
    family: str, kind: str, parts: int, tmp_path: Path
) -> None:
    model = make_model(family, 400)
    first = write_gguf(tmp_path / "m.gguf", family, kind, parts=parts, model=model)
    written = model.state_dict()
    read = dict(read_weights(split_files(first), model.config.to_dict(), names_of(model)))
    assert list(read) == names_of(model)
    to = gguf.GGMLQuantizationType[kind.upper()]
    for name, values in read.items():
        expected = written[name].numpy()
        if expected.ndim > 1:  # rows are quantised each for itself, in whatever order they are
            expected = gguf.dequantize(gguf.quantize(expected, to), to)
        assert values.dtype == np.float32
        np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize("family", FAMILIES)
def test_shapes_of_linear_layers_are_those_of_the_model(family: str, tmp_path: Path) -> None:
    model = make_model(family, 400)
    first = write_gguf(tmp_path / "m.gguf", family, parts=2, model=model)
    shapes = read_linear_shapes(split_files(first), model.config.to_dict())
    expected = {
        name: tuple(weight.shape)
        for name, weight in model.state_dict().items()
        if name.endswith("_proj.weight")
    }
    assert shapes == expected
    assert read_linear_shapes([first], {"model_type": "smollm3"}) == {}


def test_what_is_missing_or_has_no_place_is_named(tmp_path: Path) -> None:
    model = make_model("llama", 400)
    config = model.config.to_dict()
    more = [("blk.1.attn_sinks.weight", np.zeros((4, 32), np.float32))]
    file = write_gguf(tmp_path / "m.gguf", model=model, extra=more)
    with pytest.raises(BrokenFile, match=r"has 'blk\.1\.attn_sinks\.weight'"):
        list(read_weights([file], config, names_of(model)))
    with pytest.raises(BrokenFile, match=r"lacks 'blk\.0\.attn_q\.bias'"):
        list(read_weights([file], config, ["model.layers.0.self_attn.q_proj.bias"]))
