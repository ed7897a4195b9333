"""Making the GGUF adapter that llama.cpp serves from a PEFT LoRA folder."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.gguf import (
    LAYOUT,
    Precision,
    UnsupportedByLlamaCpp,
    architecture_of,
    heads_to_permute,
    permute_heads,
    type_of,
)
from liveweights.weights.staging import exclusive, publish, staged
from liveweights.weights.tensors import open_tensors

_PREFIX = "base_model.model."


def to_gguf_adapter(adapter: Checkpoint, base: Checkpoint, cache: Path) -> Path:
    """The GGUF of a LoRA ``adapter`` on ``base``, converted into ``cache`` at first use.

    Its folder holds ``adapter_config.json`` and ``adapter_model.safetensors`` as PEFT writes
    them. Factors stay in float32. Raises UnsupportedByLlamaCpp.
    """
    target = cache / "gguf" / f"{adapter.id}.lora.v{LAYOUT}.gguf"
    if target.is_file():
        return target
    with exclusive(target):
        if not target.is_file():
            with staged(target) as folder:
                made = folder / "adapter.gguf"
                write_gguf_adapter(adapter, base, made, "f32")
                publish(made, target)
    return target


def write_gguf_adapter(
    adapter: Checkpoint, base: Checkpoint, path: Path, precision: Precision
) -> None:
    """Write the GGUF of a LoRA ``adapter`` on ``base`` with factors of that precision; those whose
    rows blocks of 32 do not divide are float16 where blocks are asked for, as in llama.cpp's own
    conversion. Raises UnsupportedByLlamaCpp, OSError."""
    import gguf
    import torch

    settings: dict[str, Any] = json.loads((adapter.folder / "adapter_config.json").read_text())
    config: dict[str, Any] = json.loads((base.folder / "config.json").read_text())
    architecture = architecture_of(adapter.id, config)
    for key in ("use_dora", "modules_to_save", "fan_in_fan_out", "trainable_token_indices"):
        if settings.get(key):
            raise UnsupportedByLlamaCpp(adapter.id, f"its adapter uses {key}")
    if settings.get("bias", "none") != "none":
        raise UnsupportedByLlamaCpp(adapter.id, "its adapter trains biases")
    names = gguf.get_tensor_name_map(
        gguf.MODEL_ARCH[architecture.upper()], config["num_hidden_layers"]
    )
    kind = gguf.GGMLQuantizationType[precision.upper()]
    alpha = float(settings["lora_alpha"])
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_type(gguf.GGUFType.ADAPTER)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    with open_tensors(adapter.folder / "adapter_model.safetensors") as tensors:
        for name in sorted(tensors.keys()):
            module, _, factor = name.removeprefix(_PREFIX).removesuffix(".weight").rpartition(".")
            to = names.get_name(f"{module}.weight", try_suffixes=(".weight",))
            if factor not in {"lora_A", "lora_B"} or to is None:
                raise UnsupportedByLlamaCpp(adapter.id, f"no place for the tensor {name!r}")
            values = tensors.get_tensor(name).to(torch.float32).numpy()
            if factor == "lora_B":
                heads = heads_to_permute(name, architecture, config)
                if heads:
                    values = permute_heads(values, heads)
                # llama.cpp scales by alpha / rank; what PEFT scales by otherwise goes into B.
                rank = values.shape[1]
                values = values * np.float32(_scale(settings, module, rank) / (alpha / rank))
            values = np.ascontiguousarray(values)
            name = f"{to}.{factor.lower()}"
            as_type = type_of(name, values.shape, kind)
            writer.add_tensor(name, gguf.quantize(values, as_type), raw_dtype=as_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _scale(settings: dict[str, Any], module: str, rank: int) -> float:
    """What PEFT multiplies B·A by: alpha / r, or alpha / sqrt(r) (rsLoRA, arXiv 2312.03732). Alpha
    is that of the first regular expression in ``alpha_pattern`` that a module's name ends with."""
    pattern: dict[str, float] = settings.get("alpha_pattern") or {}
    alpha = next(
        (a for key, a in pattern.items() if re.match(rf"(.*\.)?({key})$", module)),
        settings["lora_alpha"],
    )
    return alpha / (math.sqrt(rank) if settings.get("use_rslora") else rank)
