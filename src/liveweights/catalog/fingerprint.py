"""What a checkpoint's files show of the model it is, without its name: shape and vocabulary."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from liveweights.weights.models import EXPERT_COUNTS, LARGEST_CONFIG, read_json

LARGEST_TOKENIZER = 256 << 20
"""Bytes of a ``tokenizer.json``."""
_MODEL_TYPE_OF = re.compile(r"_text$")
_LAYERS = ("num_hidden_layers", "n_layer")
_HIDDEN = ("hidden_size", "n_embd")

_ARCHITECTURES = {
    "deepseek_v3": ("deepseek2",),
    "deepseek_v32": ("deepseek2",),
    "glm4_moe_lite": ("deepseek2",),
    "kimi_k2": ("deepseek2",),
    "kimi_k25": ("deepseek2",),
    "mistral": ("llama",),
    "mixtral": ("llama",),
    "nemotron_h": ("nemotron_h", "nemotron_h_moe"),
    "olmo3": ("olmo2",),
}
"""What llama.cpp calls model types, where it is not the same but for hyphens and underscores."""
_OF_TABLE = (1, 6)
"""Types of tokens in a GGUF file: normal ones, and single bytes."""


class _Added(msgspec.Struct):
    content: str


class _Model(msgspec.Struct):
    vocab: dict[str, int] | list[tuple[str, float]]
    """Ids of tokens, or tokens with their scores in the order of their ids."""


class _TokenizerFile(msgspec.Struct):
    """What is read of a ``tokenizer.json``."""

    model: _Model
    added_tokens: list[_Added] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Numbers of ``config.json`` that the models of one family and size share; None: not there.

    ``model_type`` is without the ``_text`` that a model has whose vision part was left out; of a
    GGUF file (``gguf``) it is llama.cpp's architecture, which several model types may share.
    """

    model_type: str
    layers: int | None
    hidden: int | None
    vocab: int | None
    experts: int | None
    gguf: bool = False


def read_shape(folder: Path) -> Shape | None:
    """The shape that a checkpoint folder's config names; None where there is no such config."""
    file = folder / "config.json"
    if not file.is_file() or file.stat().st_size > LARGEST_CONFIG:
        return None
    return shape_of(read_json(file))


def shape_of(config: Mapping[str, Any]) -> Shape | None:
    """The shape in a config; that of its language model where it has several models."""
    inner = config.get("text_config")
    text: Mapping[str, Any] = inner if isinstance(inner, dict) else config
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or not model_type:
        return None
    return Shape(
        model_type=plain_type(model_type),
        layers=_number(text, _LAYERS),
        hidden=_number(text, _HIDDEN),
        vocab=_number(text, ("vocab_size",)) or _number(config, ("vocab_size",)),
        experts=_number(text, EXPERT_COUNTS),
    )


def plain_type(model_type: str) -> str:
    return _MODEL_TYPE_OF.sub("", model_type)


def shape_of_gguf(metadata: Mapping[str, Any]) -> Shape | None:
    """The shape in a GGUF file's metadata. Layers that guess the tokens after the next one are not
    counted, as in configs."""
    kind = metadata.get("general.architecture")
    if not isinstance(kind, str) or not kind:
        return None
    layers = _number(metadata, (f"{kind}.block_count",))
    guessing = _number(metadata, (f"{kind}.nextn_predict_layers",)) or 0
    tokens = metadata.get("tokenizer.ggml.tokens")
    return Shape(
        model_type=kind,
        layers=None if layers is None else layers - guessing,
        hidden=_number(metadata, (f"{kind}.embedding_length",)),
        vocab=len(tokens) if isinstance(tokens, list) and tokens else None,
        experts=_number(metadata, (f"{kind}.expert_count",)),
        gguf=True,
    )


def is_of_type(shape: Shape, model_type: str) -> bool:
    """Whether a checkpoint of that ``model_type`` may have the shape's."""
    plain = plain_type(model_type)
    if not shape.gguf:
        return shape.model_type == plain
    known = _ARCHITECTURES.get(plain, (plain,))
    return _joined(shape.model_type) in {_joined(one) for one in known}


def read_vocabulary_of_gguf(metadata: Mapping[str, Any]) -> str | None:
    """``digest_vocabulary`` of a GGUF file; the same as of the ``tokenizer.json`` that it was made
    from, because tokens that were added have another type there."""
    tokens = metadata.get("tokenizer.ggml.tokens")
    kinds = metadata.get("tokenizer.ggml.token_type")
    if not isinstance(tokens, list) or not isinstance(kinds, list) or len(tokens) != len(kinds):
        return None
    numbered = enumerate(zip(tokens, kinds, strict=True))
    return digest_vocabulary((id, str(one)) for id, (one, kind) in numbered if kind in _OF_TABLE)


def read_vocabulary(folder: Path) -> str | None:
    """``digest_vocabulary`` of the folder's ``tokenizer.json``; None where there is none, or it is
    of a kind without a table of tokens.

    Tokens that were added to the table count as little as they do for whoever adds some to train
    on: a fine-tune keeps the digest.
    """
    file = folder / "tokenizer.json"
    if not file.is_file() or file.stat().st_size > LARGEST_TOKENIZER:
        return None
    try:
        found = msgspec.json.decode(file.read_bytes(), type=_TokenizerFile)
    except (ValueError, RecursionError):
        return None
    table = found.model.vocab
    if isinstance(table, dict):
        tokens = [(id, token) for token, id in table.items()]
    else:
        tokens = [(id, token) for id, (token, _) in enumerate(table)]
    apart = {one.content for one in found.added_tokens}
    return digest_vocabulary(one for one in tokens if one[1] not in apart) if tokens else None


def digest_vocabulary(tokens: Iterable[tuple[int, str]]) -> str:
    """SHA-256, 64 hex digits, over ids and tokens in order of the ids."""
    digest = hashlib.sha256()
    for id, token in sorted(tokens):
        digest.update(f"{id}\0{token}\n".encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _joined(name: str) -> str:
    return name.replace("_", "").replace("-", "")


def _number(config: Mapping[str, Any], names: Iterable[str]) -> int | None:
    values = (config.get(name) for name in names)
    found = (value for value in values if isinstance(value, int) and not isinstance(value, bool))
    return next((value for value in found if value > 0), None)
