"""Serving ternary weights: the torch engine, with other linear layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from liveweights.catalog.routers import Choices
from liveweights.engines.protocol import EngineError
from liveweights.engines.settings import EngineSettings
from liveweights.engines.torch.engine import TorchEngine
from liveweights.ternary.compilation import NoCompiler, chosen
from liveweights.ternary.layers import TernaryLinear
from liveweights.ternary.reading import register
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.ternary.layout import read_layout

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class TernaryEngine(TorchEngine):
    """``Engine`` on Transformers whose matrices are ternary (``weights.ternary.layout``).

    Attention, cache, batches, prefixes and sampling are the torch engine's. Activations are rounded
    to bytes, each token's by itself, so that what a token gives does not depend on what it is
    computed with. Adapters are added beside the ternary weights, never merged into them; those on
    one base share it.
    """

    def __init__(
        self,
        base: Checkpoint,
        cache: Path,
        settings: EngineSettings | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        try:
            chosen()
        except NoCompiler as error:
            raise EngineError(str(error)) from error
        register()
        super().__init__(base, cache, settings or EngineSettings(kind="ternary"), tokenizer)

    @property
    def tolerance(self) -> float:
        """Mean absolute difference in nats between raw log-probabilities here and those of the same
        weights with activations in float32: 0.15 of a ternary SmolLM2-135M (docs/ternary.md)."""
        return 0.2

    def memory(self) -> int:
        """``Engine.memory``, with what has been packed for a GPU's kernels."""
        packed = {
            module.packed
            for decoder in self._decoders.values()
            for module in decoder.model.modules()
            if isinstance(module, TernaryLinear)
        }
        return super().memory() + sum(one.bytes for one in packed)

    def _read(self, folder: Path) -> tuple[Any, Choices]:
        if read_layout(folder) is None:
            raise EngineError(
                f"{folder} holds no ternary weights: make some with `liveweights ternary convert`"
            )
        return super()._read(folder)
