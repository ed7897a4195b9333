"""Finding a base model: by its packaged name, in a folder, or on a hub."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from liveweights.weights import gguf_base, hub, packaged
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import (
    HASHES,
    content_id,
    covered_files,
    hash_files,
    name_of,
    source_files,
    weight_files,
)
from liveweights.weights.gguf_header import read_header, whole_name
from liveweights.weights.tensors import read_shapes
from liveweights.weights.ternary.sizes import value_count

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
EXPERT_COUNTS = ("num_experts", "moe_num_experts", "n_routed_experts", "num_local_experts")
"""What configs call the number of experts of a layer."""

_COUNT = re.compile(r"(^|_)(layers?|heads?|experts)$")
_AT_LEAST_ONE = frozenset({
    "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
    "num_key_value_heads", "n_embd", "n_layer", "n_head",
})  # fmt: skip
MOST = 10_000
"""Layers, heads or experts of a model: beyond any there is, and few enough to be counted."""
OWN_CODE = "it needs code of its own (auto_map), which is never run"
LARGEST_CONFIG = 4 << 20
"""Bytes of a ``config.json``."""


class ModelNotFound(LookupError):
    """No usable model under that name; the message says why and what would work."""

    def __init__(self, model: str, why: str) -> None:
        super().__init__(
            f"Cannot load the model {model!r}: {why}\n"
            "What works:\n"
            f"  {DEFAULT_MODEL}    the packaged model (liveweights model fetch)\n"
            "  FILE.gguf    a GGUF file, of a split model the first; the llama engine serves it\n"
            "  DIR    a Transformers checkpoint folder: config.json, a tokenizer, *.safetensors\n"
            f"  {hub.SCHEME}ORG/NAME    a model on a hub that this machine can reach, also with "
            "@COMMIT"
        )


class ModelAway(ModelNotFound):
    """Another time it may be had: the hub that has it is away or busy, or the process that read it
    was ended by somebody."""

    def __init__(self, model: str, why: str) -> None:
        LookupError.__init__(self, f"The model {model!r} cannot be had now: {why.rstrip('.')}.")


class BrokenModel(ModelNotFound):
    """There is a model, but nothing can be served of it; one sentence says why."""

    def __init__(self, model: str, why: str) -> None:
        LookupError.__init__(self, f"The model {model!r} cannot be served: {why.rstrip('.')}.")


def find(model: str, cache: Path) -> Checkpoint:
    """The base checkpoint of that name, folder or hub address, made ready on this machine.

    The packaged model is converted into ``cache`` at first use. Of any other the files are looked
    at, as far as that takes no library and no time; ``check_model`` does the rest. Raises
    ModelNotFound, ModelAway, BrokenModel.
    """
    if model == DEFAULT_MODEL:
        gguf_file = packaged.packaged_gguf()
        if gguf_file is None:
            raise ModelNotFound(model, "it is not on this machine yet.")
        return _name(model, packaged.NAME, packaged.convert(gguf_file, cache), cache)
    if model.startswith(hub.SCHEME):
        try:
            address = hub.Address.parse(model)
            folder = hub.download(address, cache)
        except hub.HubAway as error:
            raise ModelAway(model, str(error)) from error
        except hub.HubError as error:
            raise ModelNotFound(model, f"{error}.") from error
        _look(model, folder)
        return _name(model, name_of(address.repository), folder, cache)
    folder = Path(model).expanduser()
    if folder.suffix == ".gguf" and folder.is_file():
        try:
            made = gguf_base.make_folder(folder.absolute(), cache)
            _check_config(made / "config.json")
        except (OSError, ValueError) as error:
            raise BrokenModel(model, say(error)) from error
        return _name(model, name_of(whole_name(folder)), made, cache)
    if folder.exists():
        _look(model, folder)
        return _name(model, name_of(str(folder.resolve())), folder.resolve(), cache)
    raise ModelNotFound(model, _absent(model))


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer in a checkpoint's folder. Raises whatever the parsers of its files find."""
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # What was made of a GGUF's metadata is whole as it is; for some architectures AutoTokenizer
    # would split as theirs do.
    tokenizers: Any = PreTrainedTokenizerFast if source_files(folder) else AutoTokenizer
    return tokenizers.from_pretrained(folder, local_files_only=True, trust_remote_code=False)


def load_tokenizer(checkpoint: Checkpoint) -> PreTrainedTokenizerBase:
    """The tokenizer in the checkpoint's folder. Raises BrokenModel if there is none."""
    try:
        return read_tokenizer(checkpoint.folder)
    except Exception as error:  # whatever the parsers of its files find; some raise plain ones
        why = f"its tokenizer does not load from {checkpoint.folder}: {say(error)}"
        raise BrokenModel(checkpoint.id, why) from error


def say(error: BaseException) -> str:
    """What a library says, in one line; advice to run a model's own code is left out."""
    line = " ".join(str(error).split())
    if "trust_remote_code" in line:
        return OWN_CODE
    if not line:
        return repr(error)
    named = "" if type(error) in (Exception, ValueError, OSError) else f"{type(error).__name__}: "
    return f"{named}{line[:300]}"


def end_of_text_ids(checkpoint: Checkpoint, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Tokens that end an answer: those of the generation config, of the config and of the
    tokenizer, and those with a well-known name."""
    ids: set[int] = set()
    for file in ("generation_config.json", "config.json"):
        ends: Any = read_json(checkpoint.folder / file).get("eos_token_id")
        ids.update([ends] if isinstance(ends, int) else ends or [])
    if isinstance(tokenizer.eos_token_id, int):
        ids.add(tokenizer.eos_token_id)
    vocabulary: dict[str, int] = cast(Any, tokenizer).get_added_vocab()
    ids.update(vocabulary[name] for name in _END_OF_TEXT if name in vocabulary)
    return frozenset(ids)


def read_json(path: Path) -> dict[str, Any]:
    """The object that a file holds; empty where it holds none or is not there."""
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def is_mixture(folder: Path) -> bool:
    """Whether the checkpoint's config names experts to choose from; False without a config."""
    config = read_json(folder / "config.json")
    text = config.get("text_config") or config
    return any(text.get(name) for name in EXPERT_COUNTS)


def parameters(folder: Path) -> int:
    """Number of weights in the folder's safetensors, or in the GGUF files that it stands for, read
    from their headers. Raises OSError, BrokenFile."""
    own = read_shapes(folder)
    packed = read_json(folder / "config.json").get("quantization_config")
    if isinstance(packed, dict) and packed.get("quant_method") == "ternary":
        return value_count(own.items())
    shapes = list(own.values())
    for file in source_files(folder):
        shapes += read_header(file).shapes.values()
    return sum(math.prod(shape) for shape in shapes)


def _name(model: str, name: str, folder: Path, cache: Path) -> Checkpoint:
    try:
        digits = content_id(hash_files(folder, cache / HASHES))
    except (OSError, ValueError) as error:
        raise BrokenModel(model, say(error)) from error
    return Checkpoint(id=f"{name}@{digits}", kind="base", folder=folder)


def _absent(model: str) -> str:
    """Why there is nothing of that name. What looks like a hub's name is not asked for there: a
    mistyped folder would be somebody else's model."""
    if re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w.-]+)?", model) and not model.startswith("."):
        return f"there is no folder {model}; the model of that name on a hub is {hub.SCHEME}{model}"
    looks_like_path = model.startswith((".", "/", "~")) or "/" in model
    return "there is no such folder." if looks_like_path else "it is not a name, folder or address."


def _look(model: str, folder: Path) -> None:
    """What can be seen without a library. Raises ModelNotFound, BrokenModel."""
    if not folder.is_dir():
        raise ModelNotFound(model, f"{folder} is a file, not a checkpoint folder.")
    if not (folder / "config.json").exists():
        raise ModelNotFound(model, f"{folder} has no config.json.")
    if not weight_files(folder):
        raise ModelNotFound(model, f"{folder} has a config.json but no *.safetensors.")
    if (folder / "adapter_config.json").exists():
        raise ModelNotFound(model, f"{folder} is an adapter; a base model is needed here.")
    try:
        covered_files(folder)  # before anything is opened: a pipe would never end
        _check_config(folder / "config.json")
        read_shapes(folder)
    except (OSError, ValueError) as error:
        raise BrokenModel(model, say(error)) from error


def _check_config(file: Path) -> None:
    """Raise ValueError for numbers that would stop whoever builds the model, or never let go."""
    if file.stat().st_size > LARGEST_CONFIG:
        raise ValueError(f"{file} has more than {LARGEST_CONFIG >> 20} MiB")
    try:
        config: Any = json.loads(file.read_text(encoding="utf-8"), parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} cannot be read: {error}") from error
    if not isinstance(config, dict):
        raise ValueError(f"{file} holds no object")
    for part in (config, *(v for v in config.values() if isinstance(v, dict))):
        for key, value in cast(Mapping[str, Any], part).items():
            if not isinstance(value, int) or isinstance(value, bool):
                continue
            if value < 1 and key in _AT_LEAST_ONE:
                raise ValueError(f"{file} says {key} = {value}")
            if not 0 <= value <= MOST and _COUNT.search(key):
                raise ValueError(f"{file} says {key} = {value}; no model has more than {MOST}")


def _constant(name: str) -> float:
    if name == "NaN":
        raise ValueError("it says NaN")
    return float(name)
