"""Checkpoints of others; the GGUF files are written here, block by block."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from numpy.typing import NDArray
from safetensors.torch import save_file
from tests.weights.ternary.drawing import draw_matrix, matrices, same

from liveweights.weights.gguf import permute_heads
from liveweights.weights.gguf_header import read_header
from liveweights.weights.ternary.blocks import NUMBERS, BlockType, encode
from liveweights.weights.ternary.foreign import (
    Rotated,
    block_type,
    check_folder,
    read_folder,
    read_gguf,
    read_mlx,
)
from liveweights.weights.ternary.matrix import NotTernary, TernaryMatrix

CONFIG = {
    "model_type": "llama", "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 1, "hidden_size": 128,
}  # fmt: skip


def write_gguf(
    file: Path, tensors: dict[str, tuple[tuple[int, ...], int, bytes]], **texts: str
) -> Path:
    """Of tensors (shape, the innermost first; type; bytes) and texts."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value)) + value.encode()

    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(texts))
    for key, value in texts.items():
        head += text(key) + struct.pack("<I", 8) + text(value)
    offset, body = 0, b""
    for name, (shape, kind, data) in tensors.items():
        head += text(name) + struct.pack("<I", len(shape))
        head += struct.pack(f"<{len(shape)}Q", *shape) + struct.pack("<IQ", kind, offset)
        body += data + bytes(-len(data) % 32)
        offset = len(body)
    head += bytes(-len(head) % 32)
    file.write_bytes(head + body)
    return file


def stored(matrix: TernaryMatrix, kind: BlockType) -> tuple[tuple[int, ...], int, bytes]:
    return matrix.shape[::-1], NUMBERS[kind], encode(matrix, kind).tobytes()


def to_mlx(matrix: TernaryMatrix) -> tuple[NDArray[np.uint32], NDArray[np.float16]]:
    codes = (matrix.trits() + 1).astype(np.uint32).reshape(len(matrix.codes), -1, 16)
    words = (codes << np.arange(0, 32, 2, dtype=np.uint32)).sum(axis=-1, dtype=np.uint32)
    return words, matrix.scales


@given(matrices())
def test_mlx_is_read_bit_for_bit(matrix: TernaryMatrix) -> None:
    words, scales = to_mlx(matrix)
    values = scales.astype(np.float32)
    assert same(read_mlx(words, values, -values), matrix)


def test_mlx_that_is_not_ternary_is_refused() -> None:
    words, scales = to_mlx(draw_matrix(0, 2, 128, 64))
    values = scales.astype(np.float32)
    with pytest.raises(NotTernary, match="minus the scales"):
        read_mlx(words, values, values)
    with pytest.raises(NotTernary, match="twice its scale"):
        read_mlx(np.full_like(words, 0xFFFFFFFF), values, -values)


@pytest.mark.parametrize("kind", ["Q2_0", "Q2_0_g128", "PQ2_0", "PTQ1_0", "TQ1_0", "TQ2_0"])
def test_ternary_blocks_of_a_gguf_are_read(kind: BlockType, tmp_path: Path) -> None:
    group = {"Q2_0": 64, "TQ1_0": 256, "TQ2_0": 256}.get(kind, 128)
    one, other = draw_matrix(1, 64, 256, group), draw_matrix(2, 32, 256, group)
    norm = np.linspace(0, 1, 256, dtype=np.float32)
    file = write_gguf(tmp_path / "a.gguf", {
        "blk.0.ffn_gate.weight": stored(one, kind),
        "blk.0.attn_norm.weight": ((256,), 0, norm.tobytes()),
        "blk.0.ffn_up.weight": stored(other, kind),
    })  # fmt: skip
    header = read_header(file)
    assert block_type(file, header, "blk.0.ffn_gate.weight") == kind
    assert block_type(file, header, "blk.0.ffn_up.weight") == kind  # the last of the file
    layer = "model.layers.0"
    names = [f"{layer}.mlp.gate_proj.weight", f"{layer}.mlp.up_proj.weight",
             f"{layer}.input_layernorm.weight"]  # fmt: skip
    read: dict[str, Any] = dict(read_gguf([file], CONFIG, names))
    assert same(read[f"{layer}.mlp.gate_proj"], one)
    assert same(read[f"{layer}.mlp.up_proj"], other)
    assert np.array_equal(read[f"{layer}.input_layernorm.weight"], norm)


def test_heads_stand_as_transformers_has_them(tmp_path: Path) -> None:
    matrix = draw_matrix(3, 128, 128, 128)
    rows = permute_heads(np.arange(128, dtype=np.float32), 2).astype(np.int64)
    turned = TernaryMatrix(matrix.codes[rows], matrix.scales[rows])
    file = write_gguf(tmp_path / "a.gguf", {"blk.0.attn_q.weight": stored(turned, "PQ2_0")})
    name = "model.layers.0.self_attn.q_proj"
    [(read_name, read)] = read_gguf([file], CONFIG, [f"{name}.weight"])
    assert read_name == name
    assert isinstance(read, TernaryMatrix)
    assert same(read, matrix)


def test_a_turned_basis_is_refused_with_the_reason(tmp_path: Path) -> None:
    matrix = draw_matrix(3, 128, 128, 128)
    texts = {"prism.hadamard.version": "1"}
    file = write_gguf(tmp_path / "a.gguf", {"output.weight": stored(matrix, "PQ2_0")}, **texts)
    with pytest.raises(Rotated, match=r"prism\.hadamard\.version.*Hadamard"):
        list(read_gguf([file], CONFIG, ["lm_head.weight"]))
    folder = tmp_path / "folder"
    folder.mkdir()
    save_file({"a.weight": torch.ones(2)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"transforms": {"kind": "Hadamard"}}))
    with pytest.raises(Rotated, match=r"config\.json"):
        check_folder(folder)
    (folder / "config.json").write_text("{}")
    save_file({"a.hadamard_signs": torch.ones(2)}, folder / "model.safetensors")
    with pytest.raises(Rotated, match="hadamard_signs"):
        check_folder(folder)


def test_folders_in_mlx_and_in_16_bits_are_read(tmp_path: Path) -> None:
    matrix = draw_matrix(4, 8, 256, 128)
    words, scales = to_mlx(matrix)
    norm = torch.linspace(0, 1, 8)
    mlx = {
        "a.weight": torch.from_numpy(words.view(np.int32)).view(torch.uint32),
        "a.scales": torch.from_numpy(scales), "a.biases": -torch.from_numpy(scales),
        "norm.weight": norm,
    }  # fmt: skip
    plain = {"a.weight": torch.from_numpy(matrix.dequantise()).half(), "norm.weight": norm,
             "b.weight": torch.rand(8, 128)}  # fmt: skip
    for tensors, config in (
        (mlx, {"quantization": {"group_size": 128, "bits": 2}}),
        (plain, {}),
    ):
        (tmp_path / "config.json").write_text(json.dumps(config))
        save_file(tensors, tmp_path / "model.safetensors")
        read: dict[str, Any] = dict(read_folder(tmp_path))
        assert same(read["a"], matrix)
        assert np.array_equal(read["norm.weight"], norm.numpy())
    assert isinstance(read["b.weight"], np.ndarray)
