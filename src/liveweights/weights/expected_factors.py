"""Which tensors PEFT makes of an adapter's configuration: names and shapes, without any values."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from liveweights.weights.loading import LOADING

Shape = tuple[int, ...]
_NAME = "default"
"""Of the one adapter in the model; PEFT leaves it out where it stores tensors."""


class BrokenConfig(ValueError):
    """PEFT makes no adapter of a configuration; says what it says."""


def expect_factors(
    folder: Path, linear_shapes: Mapping[str, Shape], model_type: str
) -> dict[str, Shape]:
    """The tensors of the adapter that the configuration in ``folder`` describes, as PEFT stores
    them, on a model whose linear layers have weights of these shapes (outputs, inputs) by the
    layers' names. Raises BrokenConfig."""
    import torch
    from peft import LoraConfig, inject_adapter_in_model

    try:
        config: Any = LoraConfig.from_pretrained(str(folder))
        config.megatron_config = None  # would import a module that it names
        config.init_lora_weights = True  # others compute with the base's values
        with LOADING, torch.device("meta"):
            model = _stand_in(linear_shapes, model_type)
            inject_adapter_in_model(config, model, _NAME, low_cpu_mem_usage=True)
    except Exception as error:  # whatever PEFT finds in what is not ours
        why = " ".join(str(error).split())[:300]
        raise BrokenConfig(
            f"PEFT makes no adapter of its configuration ({type(error).__name__}: {why})"
        ) from error
    # ``name`` of a layer's own weight has ``base_layer`` in it by now.
    return {
        f"base_model.model.{name.replace(f'.{_NAME}', '')}": tuple(parameter.shape)
        for name, parameter in model.named_parameters()
        if f".{_NAME}" in name
    }


def _stand_in(linear_shapes: Mapping[str, Shape], model_type: str) -> Any:
    """A model of nothing but such layers."""
    import torch

    model: Any = torch.nn.Module()
    model.config = {"model_type": model_type}  # by which PEFT chooses modules if none are named
    for name, (outputs, inputs) in sorted(linear_shapes.items(), key=lambda one: len(one[0])):
        *path, leaf = name.split(".")
        parent = model
        for part in path:
            if part not in dict(parent.named_children()):
                parent.add_module(part, torch.nn.Module())
            parent = parent.get_submodule(part)
        parent.add_module(leaf, torch.nn.Linear(inputs, outputs, bias=False))
    return model
