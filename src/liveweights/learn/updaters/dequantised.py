"""Reading a model for training whose weights are in GGUF files.

They are dequantised into memory: what is trained is an adapter on just the weights that llama.cpp
computes with, and no second copy of them is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from liveweights.weights.gguf_tensors import read_weights
from liveweights.weights.loading import LOADING


def load_dequantised(
    folder: Path, files: Sequence[Path], dtype: torch.dtype, attention: str
) -> Any:
    """The causal language model of which ``folder`` holds the config and ``files`` the weights.

    Raises OSError, BrokenFile where a weight is missing or has no place.
    """
    import transformers

    config: Any = transformers.AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    kind: Any = getattr(transformers, config.architectures[0])
    with LOADING, torch.device("meta"):
        names = list(kind(config).state_dict())
    if config.tie_word_embeddings:
        names.remove("lm_head.weight")
    weights = {
        name: torch.from_numpy(values).to(dtype)
        for name, values in read_weights(files, config.to_dict(), names)
    }
    with LOADING:
        model: Any = kind.from_pretrained(
            None,
            config=config,
            state_dict=weights,
            dtype=dtype,
            attn_implementation=attention,
            trust_remote_code=False,
        )
    # As where weights are read from a folder: PEFT would look for one on the hub.
    model.name_or_path = model.config.name_or_path = str(folder)
    return model
