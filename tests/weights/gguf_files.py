"""Small random models as GGUF files, written with the gguf package as llama.cpp converts them."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from liveweights.engines.llama.parity import lines

SIZES: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {"rope_theta": 50000.0},
    "qwen2": {"tie_word_embeddings": True},
    "qwen3": {"head_dim": 32},
}
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
)
SPLITS = {
    "llama-bpe": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
    "qwen2": r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+",
}
"""As the makers' own ``tokenizer.json`` has them."""


@cache
def train_tokenizer(pre: str, size: int = 400) -> Any:
    """A small byte-level BPE that splits as the makers of a family do; ``none``: not at all, so
    that its merges reach over every place where text can be cut."""
    from tokenizers import Regex, Tokenizer
    from tokenizers.decoders import ByteLevel as Decoder
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence, Split
    from tokenizers.trainers import BpeTrainer

    own = pre in SPLITS or pre == "none"
    steps: list[Any] = [ByteLevel(add_prefix_space=False, use_regex=not own)]
    if pre == "smollm":
        steps.insert(0, Digits(individual_digits=True))
    elif pre in SPLITS:
        steps.insert(0, Split(Regex(SPLITS[pre]), behavior="isolated"))
    tokenizer: Any = Tokenizer(BPE())
    tokenizer.pre_tokenizer = Sequence(steps)
    tokenizer.decoder = Decoder()
    trainer = BpeTrainer(
        vocab_size=size,
        initial_alphabet=ByteLevel.alphabet(),
        special_tokens=list(SPECIAL),
        show_progress=False,
    )
    tokenizer.train_from_iterator([inspect.getsource(textwrap), *lines()], trainer)
    if pre == "llama-bpe":
        tokenizer.model.ignore_merges = True
    return tokenizer


def make_model(family: str, vocabulary: int, **options: Any) -> Any:
    """A random model of a family, with values large enough to matter."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(3)
    sizes = {**SIZES, **FAMILIES[family], **options, "vocab_size": vocabulary}
    config: Any = AutoConfig.for_model(family, **sizes, bos_token_id=1, eos_token_id=2)
    model: Any = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 or "bias" in name:
                weight.normal_(std=0.15)
    return model


def write_gguf(
    file: Path,
    family: str = "llama",
    kind: str = "q8_0",
    *,
    pre: str = "smollm",
    parts: int = 1,
    model: Any = None,
    extra: Iterable[tuple[str, Any]] = (),
    architecture: str = "",
) -> Path:
    """A model of the ``family`` whose matrices are stored as ``kind``; the (first) file.

    ``extra`` are tensors, by their name in the file, that the model has no place for;
    ``architecture`` is what the file says of it, where that is not the family.
    """
    facts = train_pieces() if pre == "pieces" else facts_of(train_tokenizer(pre), pre)
    model = model or make_model(family, len(facts["tokenizer.ggml.tokens"]))
    tensors = [*_tensors(family, model), *extra]
    limit = -(-len(tensors) // parts) if parts > 1 else 0
    writer = gguf.GGUFWriter(file, architecture or family, split_max_tensors=limit)
    _add_metadata(writer, model.config)
    _add_tokenizer(writer, facts)
    for name, values in tensors:
        to = gguf.GGMLQuantizationType[kind.upper()] if values.ndim > 1 else None
        if to is None or to.name == "F32":
            writer.add_tensor(name, values)
        elif to.name == "F16":
            writer.add_tensor(name, values.astype(np.float16))
        else:
            writer.add_tensor(name, gguf.quantize(values, to), raw_dtype=to)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file if parts == 1 else file.with_name(f"{file.stem}-00001-of-{parts:05}.gguf")


def _tensors(family: str, model: Any) -> list[tuple[str, Any]]:
    config = model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH[family.upper()], config.num_hidden_layers)
    written: list[tuple[str, Any]] = []
    for name, weight in model.state_dict().items():
        if config.tie_word_embeddings and name == "lm_head.weight":
            continue
        values = weight.numpy()
        if family == "llama" and (".q_proj." in name or ".k_proj." in name):
            heads = config.num_attention_heads if ".q_" in name else config.num_key_value_heads
            halves = values.reshape(heads, 2, values.shape[0] // heads // 2, *values.shape[1:])
            values = np.ascontiguousarray(halves.swapaxes(1, 2).reshape(values.shape))
        to = names.get_name(name, (".weight", ".bias"))
        assert to is not None, name
        written.append((to, values))
    return written


def _add_metadata(writer: gguf.GGUFWriter, config: Any) -> None:
    writer.add_name("tiny")
    writer.add_license("mit")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(float(config.rope_parameters["rope_theta"]))
    if config.rope_parameters["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(config.rope_parameters["factor"])
        writer.add_rope_scaling_orig_ctx_len(
            config.rope_parameters["original_max_position_embeddings"]
        )
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def facts_of(tokenizer: Any, pre: str) -> dict[str, Any]:
    """What a file's metadata would say of a tokenizer."""
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].__getitem__)
    types = [gguf.TokenType.CONTROL if t in SPECIAL else gguf.TokenType.NORMAL for t in tokens]
    said = {
        "model": "gpt2",
        "pre": pre,
        "tokens": tokens,
        "token_type": [int(one) for one in types],
        "merges": [m if isinstance(m, str) else " ".join(m) for m in model["merges"]],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "add_bos_token": False,
    }
    return {f"tokenizer.ggml.{name}": value for name, value in said.items()}


def train_pieces(size: int = 300, *, across: bool = False, **more: Any) -> dict[str, Any]:
    """What a file's metadata would say of a small tokenizer of SentencePiece's; its pieces reach
    ``across`` words, or end where a word does. ``more`` is said, too."""
    return {
        **_pieces(size, across),
        **{f"tokenizer.ggml.{name}": value for name, value in more.items()},
    }


@cache
def _pieces(size: int, across: bool) -> dict[str, Any]:
    from tokenizers import Tokenizer
    from tokenizers.models import BPE
    from tokenizers.pre_tokenizers import Metaspace
    from tokenizers.trainers import BpeTrainer

    tokenizer: Any = Tokenizer(BPE())
    tokenizer.pre_tokenizer = Metaspace(split=not across)
    trainer = BpeTrainer(vocab_size=size, limit_alphabet=80, show_progress=False)
    tokenizer.train_from_iterator([inspect.getsource(textwrap), *lines()], trainer)
    trained = json.loads(tokenizer.to_str())["model"]
    merges = [m.split(" ") if isinstance(m, str) else m for m in trained["merges"]]
    merged = list(dict.fromkeys("".join(merge) for merge in merges))
    letters = sorted(one for one in trained["vocab"] if len(one) == 1)
    said = ["<unk>", *SPECIAL[1:], "<|endoftext|>", "    "]
    pieces = [*merged, *letters]
    kinds = [gguf.TokenType.UNKNOWN, *[gguf.TokenType.CONTROL] * 3, gguf.TokenType.USER_DEFINED]
    kinds += [gguf.TokenType.BYTE] * 256 + [gguf.TokenType.NORMAL] * len(pieces)
    told = {
        "model": "llama",
        "pre": "default",
        "tokens": [*said, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces],
        "scores": [0.0] * (len(said) + 256) + [-float(rank) for rank in range(len(pieces))],
        "token_type": [int(kind) for kind in kinds],
        "bos_token_id": 1,
        "eos_token_id": 2,
        "unknown_token_id": 0,
        "add_bos_token": True,
    }
    return {f"tokenizer.ggml.{name}": value for name, value in told.items()}


def _add_tokenizer(writer: gguf.GGUFWriter, facts: dict[str, Any]) -> None:
    for key, value in facts.items():
        match value:
            case bool():
                writer.add_bool(key, value)
            case int():
                writer.add_uint32(key, value)
            case str():
                writer.add_string(key, value)
            case _:
                writer.add_array(key, value)
    writer.add_chat_template(TEMPLATE)
