"""Random models of known shapes, ternary and dense, written to disk a shard at a time: only one
shard is ever in memory. Values do not matter to speed and memory; layers pass on what they get at
about its size."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from liveweights.weights.ternary.layout import Group, Layout

SHARD = 512 << 20
"""Bytes of a shard, about."""
_BYTES = np.array(
    [a + 4 * b + 16 * c + 64 * d for a in range(3) for b in range(3) for c in range(3)
     for d in range(3)], dtype=np.uint8,
)  # fmt: skip
"""Those that hold four trits."""


@dataclass(frozen=True)
class Shape:
    family: str
    layers: int
    sizes: Mapping[str, int]

    def config(self) -> Any:
        from transformers import AutoConfig

        return AutoConfig.for_model(
            self.family, **self.sizes, num_hidden_layers=self.layers, tie_word_embeddings=False,
            bos_token_id=1, eos_token_id=2,
        )  # fmt: skip


SMALL = Shape("llama", 22, {
    "hidden_size": 2048, "intermediate_size": 5632, "num_attention_heads": 32,
    "num_key_value_heads": 4, "vocab_size": 32000, "max_position_embeddings": 2048,
})  # fmt: skip
"""1.1 billion, as TinyLlama."""
LARGE = Shape("qwen3", 36, {
    "hidden_size": 4096, "intermediate_size": 12288, "num_attention_heads": 32,
    "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936,
    "max_position_embeddings": 40960,
})  # fmt: skip
"""8.2 billion, as Qwen3 8B."""


def draw_codes(rows: int, columns: int, seed: int) -> NDArray[np.uint8]:
    """Packed trits [rows, columns / 4]."""
    draw = np.random.default_rng(seed).integers(0, 81, (rows, columns // 4), dtype=np.uint8)
    return _BYTES[draw]


def write_ternary(folder: Path, shape: Shape, group: Group) -> Path:
    """All matrices ternary, embedding and output layer too."""

    def tensors(name: str, size: tuple[int, ...], seed: int) -> dict[str, NDArray[Any]]:
        if len(size) < 2:
            return {name: np.ones(size, np.float16)}
        rows, columns = size
        scales = np.full((rows, columns // group), math.sqrt(1.5 / columns), np.float16)
        owner = name.removesuffix(".weight")
        return {f"{owner}.codes": draw_codes(rows, columns, seed), f"{owner}.scales": scales}

    config = shape.config().to_dict()
    from msgspec import to_builtins

    config["quantization_config"] = to_builtins(Layout(group_size=group))
    return _write(folder, shape, config, tensors)


def write_dense(folder: Path, shape: Shape) -> Path:
    """In float16."""

    def tensors(name: str, size: tuple[int, ...], seed: int) -> dict[str, NDArray[Any]]:
        if len(size) < 2:
            return {name: np.ones(size, np.float16)}
        drawn = np.random.default_rng(seed).standard_normal(size, dtype=np.float32)
        return {name: (drawn * np.float32(1 / math.sqrt(size[1]))).astype(np.float16)}

    return _write(folder, shape, shape.config().to_dict(), tensors)


def _write(folder: Path, shape: Shape, config: dict[str, Any], tensors: Any) -> Path:
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    config["dtype"] = "float16"
    (folder / "config.json").write_text(json.dumps(config))
    _write_tokenizer(folder)
    places: dict[str, str] = {}
    shard: dict[str, NDArray[Any]] = {}

    def flush() -> None:
        file = f"model-{len(set(places.values())) + 1:05}.safetensors"
        save_file(shard, folder / file, metadata={"format": "pt"})
        places.update(dict.fromkeys(shard, file))
        shard.clear()

    for seed, (name, size) in enumerate(_parameters(shape)):
        shard |= tensors(name, size, seed)
        if sum(array.nbytes for array in shard.values()) >= SHARD:
            flush()
    if shard:
        flush()
    index = {"metadata": {}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def _parameters(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model: Any = AutoModelForCausalLM.from_config(shape.config(), trust_remote_code=False)
    return ((name, tuple(p.shape)) for name, p in model.named_parameters())


def _write_tokenizer(folder: Path) -> None:
    """A byte to the token, and one of two; the rest of the vocabulary has no text."""
    from tokenizers import Tokenizer
    from tokenizers.decoders import ByteLevel as Decoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import PreTrainedTokenizerFast

    specials = ["<unk>", "<s>", "</s>"]
    alphabet = [*specials, *sorted(ByteLevel.alphabet()), "zq"]
    vocabulary = {text: i for i, text in enumerate(alphabet)}
    # Without a merge llama.cpp takes no tokenizer.
    tokenizer: Any = Tokenizer(BPE(vocab=vocabulary, merges=[("z", "q")]))
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = Decoder()
    tokenizer.add_special_tokens(specials)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(folder)
