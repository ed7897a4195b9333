"""Making the GGUF that llama.cpp serves from a checkpoint's own safetensors."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress

from liveweights.terminal import clean
from liveweights.weights.byte_level import ends_within_character
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import source_files, weight_files
from liveweights.weights.gguf_served import LAYOUT as SERVED_LAYOUT
from liveweights.weights.gguf_served import make_servable
from liveweights.weights.staging import exclusive, publish, staged
from liveweights.weights.tensors import open_tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from gguf import GGUFWriter
    from numpy.typing import NDArray

Precision = Literal["q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "bf16", "f16", "f32"]
"""What the `gguf` package writes of floats."""
LAYOUT = 1
"""Raised when the conversion changes, so that an older cache is not taken for the new one."""

# model_type in config.json -> architecture in GGUF. The Llama graph of llama.cpp rotates
# neighbouring values of a head, Transformers rotates halves: its q and k rows are permuted.
ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}


class UnsupportedByLlamaCpp(ValueError):
    """This checkpoint cannot be converted; the message says why and what to do."""

    def __init__(self, checkpoint: str, why: str) -> None:
        super().__init__(
            f"{checkpoint} cannot be served by the llama engine: {why}. "
            'Use the torch engine instead (engine.kind = "torch"), which takes any architecture.'
        )


def to_gguf(base: Checkpoint, cache: Path, precision: Precision = "q8_0") -> Path:
    """The GGUF of ``base`` at ``precision``, converted into ``cache`` at first use.

    ``base`` is a folder of whole-model safetensors (kind ``base`` or ``full``), or stands for GGUF
    files: then it is the first of these at its own precision (see ``gguf_served``). Raises
    UnsupportedByLlamaCpp, OSError.
    """
    if files := source_files(base.folder):
        return make_servable(files, cache / "gguf" / f"{base.id}.v{SERVED_LAYOUT}")
    target = cache / "gguf" / f"{base.id}.{precision}.v{LAYOUT}.gguf"
    if target.is_file():
        return target
    with exclusive(target):
        if not target.is_file():
            with staged(target) as folder:
                made = folder / "model.gguf"
                _write(base, made, precision)
                publish(made, target)
    return target


def write_gguf(model: Checkpoint, path: Path, precision: Precision) -> None:
    """Write the GGUF of a folder of whole-model safetensors for any llama.cpp, with its chat
    template; ``to_gguf`` is for the engine, which asks for the text of every single token.

    Raises UnsupportedByLlamaCpp, OSError.
    """
    _write(model, path, precision, served=False)


def architecture_of(checkpoint_id: str, config: dict[str, Any]) -> str:
    """The GGUF architecture for a Transformers config. Raises UnsupportedByLlamaCpp."""
    kind = config.get("model_type")
    if kind not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise UnsupportedByLlamaCpp(checkpoint_id, f"architecture {kind!r} is not one of {known}")
    return ARCHITECTURES[kind]


def permute_heads(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Reorder the rows of a q or k projection from rotated halves to rotated neighbours.

    ``weight`` is [heads * head_dim, n], or [heads * head_dim] for a bias.
    """
    head_dim = weight.shape[0] // heads
    split = weight.reshape(heads, 2, head_dim // 2, *weight.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(weight.shape))


def restore_heads(weight: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """The reverse of ``permute_heads``."""
    head_dim = weight.shape[0] // heads
    split = weight.reshape(heads, head_dim // 2, 2, *weight.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(weight.shape))


def heads_to_permute(name: str, architecture: str, config: dict[str, Any]) -> int:
    """How many heads ``permute_heads`` has to reorder in the tensor ``name``; 0 for none."""
    if architecture != "llama":
        return 0
    if ".q_proj." in name:
        return int(config["num_attention_heads"])
    if ".k_proj." in name:
        return int(config.get("num_key_value_heads") or config["num_attention_heads"])
    return 0


def check_convertible(base: Checkpoint) -> None:
    """Raise UnsupportedByLlamaCpp where ``to_gguf`` would, without reading any weights."""
    if not source_files(base.folder):
        _plan(base, Path(os.devnull), "q8_0")


def _write(base: Checkpoint, path: Path, precision: Precision, *, served: bool = True) -> None:
    import gguf
    import torch

    writer, config, architecture, plan = _plan(base, path, precision, served=served)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    # What a command says on stdout may be JSON.
    with Progress(console=Console(stderr=True)) as progress:
        for file, name, as_type in progress.track(
            plan, description=escape(f"Quantising {clean(base.name)} to {precision.upper()}")
        ):
            with open_tensors(file) as tensors:
                values = tensors.get_tensor(name).to(torch.float32).numpy()
            heads = heads_to_permute(name, architecture, config)
            if heads:
                values = permute_heads(values, heads)
            writer.write_tensor_data(gguf.quantize(values, as_type))
    writer.close()


def _plan(
    base: Checkpoint, path: Path, precision: Precision, *, served: bool = True
) -> tuple[GGUFWriter, dict[str, Any], str, list[tuple[Path, str, Any]]]:
    """All that is written before the weights, ready to be: the writer, the model's config and
    architecture, and which tensor of which file goes there as what."""
    import gguf

    config: dict[str, Any] = json.loads((base.folder / "config.json").read_text())
    file_type = "ALL_F32" if precision == "f32" else f"MOSTLY_{precision.upper()}"
    writer, names = open_writer(base, path, config, gguf.LlamaFileType[file_type], served=served)
    kind = gguf.GGMLQuantizationType[precision.upper()]

    plan: list[tuple[Path, str, Any]] = []
    tied = bool(config.get("tie_word_embeddings"))
    for file in weight_files(base.folder):
        with open_tensors(file, "np") as tensors:
            for name in tensors.keys():  # noqa: SIM118
                if tied and name == "lm_head.weight":
                    continue
                to = names.get_name(name, try_suffixes=(".weight", ".bias"))
                if to is None:
                    raise UnsupportedByLlamaCpp(base.id, f"no place for the tensor {name!r}")
                shape = tensors.get_slice(name).get_shape()
                as_type = type_of(to, shape, kind)
                block, size = gguf.GGML_QUANT_SIZES[as_type]
                length = math.prod(shape) // block * size
                # The writer takes the shape of the bytes.
                stored = [*shape[:-1], shape[-1] // block * size]
                writer.add_tensor_info(to, stored, np.dtype(np.uint8), length, as_type)
                plan.append((file, name, as_type))
    return writer, config, ARCHITECTURES[config["model_type"]], plan


def open_writer(
    base: Checkpoint, path: Path, config: dict[str, Any], file_type: int, *, served: bool
) -> tuple[GGUFWriter, Any]:
    """A writer that has all of a model but its tensors, and the map of their names.

    ``config`` is Transformers', ``file_type`` llama.cpp's number of what most weights are stored
    as. Raises UnsupportedByLlamaCpp, OSError.
    """
    import gguf

    architecture = architecture_of(base.id, config)
    if refuse := _unsupported(config):
        raise UnsupportedByLlamaCpp(base.id, refuse)
    names = gguf.get_tensor_name_map(
        gguf.MODEL_ARCH[architecture.upper()], config["num_hidden_layers"]
    )
    writer = gguf.GGUFWriter(path, architecture)
    _add_shape(writer, base, config, file_type)
    _add_tokenizer(writer, base, config, served=served)
    return writer, names


def type_of(name: str, shape: Sequence[int], wanted: Any) -> Any:
    """What a tensor of that name in GGUF and ``shape`` is stored as, where ``wanted`` is for most.

    Vectors stay float32; rows that blocks of 32 do not divide, float16. The embeddings are often
    the output layer too, where four bits cost too much.
    """
    import gguf

    if len(shape) < 2:
        return gguf.GGMLQuantizationType.F32
    if wanted.name.startswith("Q") and shape[-1] % 32:
        return gguf.GGMLQuantizationType.F16
    if wanted.name.startswith("Q4") and name in {"token_embd.weight", "output.weight"}:
        return gguf.GGMLQuantizationType.Q8_0
    return wanted


def _rope(config: dict[str, Any]) -> dict[str, Any]:
    return config.get("rope_parameters") or {
        "rope_type": "default",
        "rope_theta": config.get("rope_theta", 10000.0),
        **(config.get("rope_scaling") or {}),
    }


def _unsupported(config: dict[str, Any]) -> str | None:
    rope = _rope(config)
    kind = rope.get("rope_type") or rope.get("type") or "default"
    if kind not in {"default", "linear"}:
        return f"its rotary embedding is scaled by {kind!r}"
    if config.get("sliding_window") and config.get("use_sliding_window", True):
        return "it uses sliding-window attention"
    if config.get("hidden_act", "silu") != "silu":
        return f"its activation is {config['hidden_act']!r}"
    if config.get("quantization_config"):
        return "its weights are quantised already"
    return None


def _add_shape(
    writer: GGUFWriter, base: Checkpoint, config: dict[str, Any], file_type: int
) -> None:
    import gguf

    rope = _rope(config)
    heads = int(config["num_attention_heads"])
    head_dim = int(config.get("head_dim") or config["hidden_size"] // heads)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(base.id)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(int(config.get("num_key_value_heads") or heads))
    writer.add_key_length(head_dim)
    writer.add_value_length(head_dim)
    writer.add_rope_dimension_count(head_dim)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or 10000.0))
    if rope.get("factor"):
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(float(rope["factor"]))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_tokenizer(
    writer: GGUFWriter, base: Checkpoint, config: dict[str, Any], *, served: bool
) -> None:
    """The vocabulary. Where it is ``served`` by the engine, prompts go to llama.cpp as ids and
    answers come back as ids, so what matters is that every id has an entry and that the ends of
    text are known; for others tokens have their own types, and the chat template is there."""
    from gguf import TokenType

    try:
        tokenizer: dict[str, Any] = json.loads((base.folder / "tokenizer.json").read_text())
    except OSError:
        raise UnsupportedByLlamaCpp(base.id, "its folder has no tokenizer.json") from None
    model, decoder = tokenizer["model"], tokenizer.get("decoder") or {}
    if model.get("type") != "BPE" or decoder.get("type") != "ByteLevel":
        raise UnsupportedByLlamaCpp(base.id, "its tokenizer is not a byte-level BPE")
    size = int(config["vocab_size"])
    tokens = [f"[PAD{i}]" for i in range(size)]
    types = [int(TokenType.UNUSED)] * size
    for token, i in model["vocab"].items():
        tokens[i], types[i] = token, _type_of_token(token) if served else int(TokenType.NORMAL)
    for added in tokenizer.get("added_tokens", []):
        kind = TokenType.CONTROL if added["special"] else TokenType.USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"], int(kind)
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(tokenizer))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    file = base.folder / "tokenizer_config.json"
    described: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
    writer.add_add_bos_token(not served and described.get("add_bos_token") is True)
    writer.add_add_space_prefix(False)
    template = None if served else _chat_template(base.folder, described)
    if template is not None:
        writer.add_chat_template(template)
    generation = base.folder / "generation_config.json"
    ends: Any = config.get("eos_token_id")
    if generation.is_file():
        ends = json.loads(generation.read_text()).get("eos_token_id", ends)
    ends = [ends] if isinstance(ends, int) else list(ends or [])
    for add, i in zip(
        (writer.add_eos_token_id, writer.add_eot_token_id, writer.add_eom_token_id),
        ends,
        strict=False,
    ):
        add(i)
    if isinstance(config.get("bos_token_id"), int):
        writer.add_bos_token_id(config["bos_token_id"])


def _chat_template(folder: Path, described: dict[str, Any]) -> str | None:
    """The model's own, as Transformers finds it."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        return file.read_text(encoding="utf-8")
    template = described.get("chat_template")
    return template if isinstance(template, str) else None


def _type_of_token(token: str) -> int:
    # The server withholds a token whose text ends within a character, and with it its id and its
    # log-probability. As "user defined" its text is the token's spelling, which is always whole.
    from gguf import TokenType

    kind = TokenType.USER_DEFINED if ends_within_character(token) else TokenType.NORMAL
    return int(kind)


def _pre_tokenizer(tokenizer: dict[str, Any]) -> str:
    """llama.cpp's name for the way text is split; only used if it is given text."""
    steps = tokenizer.get("pre_tokenizer") or {}
    kinds = [step["type"] for step in steps.get("pretokenizers", [steps]) if step]
    if kinds == ["Digits", "ByteLevel"]:
        return "smollm"
    pattern = json.dumps(steps)
    if "{1,3}" in pattern:
        return "llama-bpe"
    return "qwen2" if "\\\\p{N}" in pattern else "gpt-2"
