"""Reading ternary checkpoints through Transformers, which builds the rest of the model.

``register`` makes Transformers know the method: ``from_pretrained`` then puts ternary layers in the
place of linear ones and embeddings, wherever a checkpoint's config says so.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec
import torch

from liveweights.ternary.compilation import chosen
from liveweights.ternary.layers import TernaryEmbedding, TernaryLinear, is_plain
from liveweights.weights.ternary.layout import METHOD, Layout
from liveweights.weights.ternary.matrix import NotTernary


@cache
def register() -> None:
    """Let Transformers read ternary checkpoints, for which it then raises NoCompiler where they
    cannot be computed with; a second time does nothing."""
    from transformers.quantizers.auto import register_quantization_config, register_quantizer
    from transformers.quantizers.base import HfQuantizer
    from transformers.utils.quantization_config import QuantizationConfigMixin

    @register_quantization_config(METHOD)
    class TernaryConfig(QuantizationConfigMixin):
        """``Layout`` in the form that Transformers asks for."""

        def __init__(self, **settings: Any) -> None:
            self.layout = msgspec.convert(settings, Layout)
            self.quant_method: Any = METHOD

        def to_dict(self) -> dict[str, Any]:
            return msgspec.to_builtins(self.layout)

    @register_quantizer(METHOD)
    class TernaryQuantizer(HfQuantizer):
        """Puts ternary layers into a model that has been built and not been read."""

        requires_calibration = True

        def validate_environment(self, *args: Any, **kwargs: Any) -> None:
            """Before any weights are read. Raises NoCompiler."""
            chosen()

        def _process_model_before_weight_loading(self, model: Any, **kwargs: Any) -> Any:
            config: Any = self.quantization_config
            replace_layers(model, config.layout)
            return model

        def _process_model_after_weight_loading(self, model: Any, **kwargs: Any) -> Any:
            for module in model.modules():
                if isinstance(module, TernaryLinear | TernaryEmbedding):
                    module.settle()
            return model

        def is_serializable(self) -> Any:
            return True

        @property
        def is_trainable(self) -> Any:
            return True  # adapters on it


def replace_layers(model: Any, layout: Layout) -> None:
    """Put empty ternary layers in the place of a model's linear layers and embeddings, but for
    ``modules_to_not_convert``; an embedding gives the precision of that in whose place it is.
    Raises NotTernary."""
    kept = set(layout.modules_to_not_convert)
    for name, module in list(model.named_modules()):
        if name in kept or not isinstance(module, torch.nn.Linear | torch.nn.Embedding):
            continue
        if not is_plain(module):
            raise NotTernary(f"{name} is a {type(module).__name__}: convert the model again")
        device = next((p.device for p in module.parameters(recurse=False)), None)
        with torch.device(device or "cpu"):
            match module:
                case torch.nn.Linear():
                    columns, rows = module.in_features, module.out_features
                    made: Any = TernaryLinear(columns, rows, layout, module.bias)
                case _:
                    rows, columns = module.num_embeddings, module.embedding_dim
                    made = TernaryEmbedding(rows, columns, layout, module.weight.dtype)
        model.set_submodule(name, made)
