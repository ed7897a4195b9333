"""How many tokens a request may have: as many as the model was made for and memory holds."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from liveweights.engines.settings import EngineSettings
from liveweights.machine import available_memory
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.content import source_files, weight_files
from liveweights.weights.context import LEAST, own_context, read_config

log = logging.getLogger(__name__)

SHARE = 0.5
"""Of the memory that weights leave, for keys and values."""
_STEP = 256
_NO_CACHE = ("linear_attention", "mamba", "moe", "mlp")
"""Kinds of layers that keep no keys and values of each token."""


def with_context(
    base: Checkpoint, settings: EngineSettings, *, residents: int = 1
) -> EngineSettings:
    """``settings`` with a ``context_length``, chosen where they leave it open.

    ``residents`` checkpoints like ``base`` may be in memory at once. Servers of vLLM or OpenAI's
    kind have their own memory: their engines choose.
    """
    if settings.context_length or settings.kind in {"vllm", "openai"}:
        return settings
    files = (*weight_files(base.folder), *source_files(base.folder))
    weights = sum(file.stat().st_size for file in files)
    # Twice: an update holds them too.
    memory = int(SHARE * max(0, available_memory() - 2 * weights))
    element = 2 if settings.kind == "llama" or settings.dtype == "bfloat16" else 4
    chosen = choose_context(base, element, rows=residents * settings.slots, memory=memory)
    return msgspec.structs.replace(settings, context_length=chosen)


def choose_context(base: Checkpoint, element: int, *, rows: int, memory: int) -> int:
    """Tokens of context of ``base``, said in the log: its own, or as many as ``memory`` bytes hold
    of each of ``rows`` requests, with keys and values of ``element`` bytes."""
    config = read_config(base.folder)
    own = own_context(config)
    if own is None:
        log.info("context of %d tokens: %s does not say what it was made for", LEAST, base.id)
        return LEAST
    chosen = fit_context(own, cache_bytes(config, element), rows=rows, memory=memory)
    if chosen == own:
        log.info("context of %d tokens: what %s was made for", own, base.id)
    else:
        log.info(
            "context of %d tokens: %s was made for %d, of which memory does not hold %d at once; "
            "engine.context_length, engine.slots and deployment.max_resident change it",
            chosen, base.id, own, rows,
        )  # fmt: skip
    return chosen


def fit_context(own: int, token_bytes: int, *, rows: int, memory: int) -> int:
    """The most tokens up to ``own`` of which ``rows`` fit in ``memory``; ``LEAST`` in any case."""
    most = memory // (rows * token_bytes) if token_bytes else own
    return min(own, max(LEAST, most - most % _STEP))


def cache_bytes(config: Mapping[str, Any], element: int) -> int:
    """At most so many bytes of keys and values does a token take, by ``config.json``.

    Layers with a sliding window are counted as if they saw everything. 0 where the config does
    not say.
    """
    text = config.get("text_config") or config

    def number(*names: str) -> int:
        values = (text.get(name) for name in names)
        return next((n for n in values if isinstance(n, int) and n > 0), 0)

    kinds = text.get("layer_types") or text.get("layers_block_type") or []
    layers = sum(kind not in _NO_CACHE for kind in kinds) or number("num_hidden_layers", "n_layer")
    heads = number("num_attention_heads", "n_head")
    width = number("hidden_size", "n_embd")
    if rank := number("kv_lora_rank"):
        return layers * (rank + number("qk_rope_head_dim")) * element
    size = number("head_dim") or (width // heads if heads else 0)
    return layers * 2 * (number("num_key_value_heads") or heads) * size * element
