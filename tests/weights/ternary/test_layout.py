from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.weights.ternary.drawing import matrices, same

from liveweights.weights.ternary.layout import (
    Layout,
    Packing,
    from_tensors,
    read_layout,
    tensor_shapes,
    to_tensors,
)
from liveweights.weights.ternary.matrix import NotTernary, TernaryMatrix
from liveweights.weights.ternary.sizes import value_count


@given(matrices(), st.sampled_from(["2bit", "base3"]))
def test_what_is_stored_is_the_matrix(matrix: TernaryMatrix, packing: Packing) -> None:
    tensors = to_tensors(matrix, packing)
    layout = Layout(group_size=matrix.group, packing=packing)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    assert shapes == tensor_shapes(layout, *matrix.shape)
    assert same(from_tensors(tensors), matrix)
    named = [(f"model.{name}", shape) for name, shape in shapes.items()]
    assert value_count([*named, ("norm.weight", (7,))]) == matrix.trits().size + 7


def test_the_config_says_the_layout(tmp_path: Path) -> None:
    def write(config: object) -> None:
        (tmp_path / "config.json").write_text(json.dumps({"quantization_config": config}))

    assert read_layout(tmp_path) is None
    layout = Layout(group_size=64, modules_to_not_convert=("lm_head",))
    write(msgspec.to_builtins(layout))
    assert read_layout(tmp_path) == layout
    write({"quant_method": "gptq", "bits": 4})
    assert read_layout(tmp_path) is None
    write({"quant_method": "ternary", "version": 2})
    with pytest.raises(NotTernary, match="version"):
        read_layout(tmp_path)
