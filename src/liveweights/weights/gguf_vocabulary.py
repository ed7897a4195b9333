"""A small GGUF with the tokenizer of another: for asking llama.cpp how it cuts text, without its
reading gigabytes of weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from gguf import GGUFWriter

WIDTH = 32
_SQUARES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
_NORMS = ("attn_norm", "ffn_norm")


def write_vocabulary(file: Path, facts: Mapping[str, Any]) -> None:
    """Write to ``file`` a Llama of one layer, of zeros, with all that the metadata ``facts`` say of
    the tokenizer but its chat templates."""
    import gguf

    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_rope_dimension_count(WIDTH)
    writer.add_layer_norm_rms_eps(1e-5)
    if isinstance(name := facts.get("general.name"), str):
        writer.add_name(name)  # some models' tokens are read otherwise for it
    for key, value in facts.items():
        if key.startswith("tokenizer.ggml."):
            _add(writer, key, value)
    tokens = len(facts["tokenizer.ggml.tokens"])
    writer.add_tensor("token_embd.weight", np.zeros((tokens, WIDTH), np.float16))
    for name in ("output_norm", *(f"blk.0.{part}" for part in _NORMS)):
        writer.add_tensor(f"{name}.weight", np.ones(WIDTH, np.float32))
    for part in _SQUARES:
        writer.add_tensor(f"blk.0.{part}.weight", np.zeros((WIDTH, WIDTH), np.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add(writer: GGUFWriter, key: str, value: Any) -> None:
    match value:
        case bool():
            writer.add_bool(key, value)
        case int() if 0 <= value < 1 << 32:
            writer.add_uint32(key, value)
        case float():
            writer.add_float32(key, value)
        case str():
            writer.add_string(key, value)
        case [_, *_]:
            writer.add_array(key, value)
        case _:  # nothing that says something of a tokenizer
            pass
