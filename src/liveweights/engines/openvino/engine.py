"""Serving on a CPU with OpenVINO: continuous batching over paged keys and values."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from liveweights.engines.in_process import InProcessEngine
from liveweights.engines.limits import check_request
from liveweights.engines.openvino.convert import adapt, to_openvino
from liveweights.engines.openvino.decoder import OpenVinoDecoder
from liveweights.engines.openvino.model import PagedModel, fast_dtype, library
from liveweights.engines.protocol import EngineError, Sampling
from liveweights.engines.settings import EngineSettings
from liveweights.machine import cores
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.models import parameters

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TOLERANCE = {"float32": 0.001, "bfloat16": 0.1}


class OpenVinoEngine(InProcessEngine[OpenVinoDecoder]):
    """``Engine`` on OpenVINO's runtime, which computes logits; tokens are drawn here.

    Weights are converted into the cache at first use. Each checkpoint is a compiled model with
    weights and a key-value cache of its own; adapters are merged. Prompts go on from whole blocks
    of tokens that earlier answers of the same checkpoint computed.
    """

    def __init__(
        self,
        base: Checkpoint,
        cache: Path,
        settings: EngineSettings | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        library()
        self._cache = cache
        self._weights: dict[str, int] = {}
        """Bytes, by checkpoint that was opened."""
        settings = settings or EngineSettings(kind="openvino")
        self._dtype = fast_dtype() if settings.dtype == "auto" else settings.dtype
        if self._dtype == "bfloat16" and cores() < 2:
            raise EngineError('OpenVINO needs two cores for bfloat16: use engine.dtype = "float32"')
        # Torch has little to do here, and threads of its own would wait where OpenVINO's compute.
        super().__init__(base, settings, 1, tokenizer)

    @property
    def tolerance(self) -> float:
        """Mean absolute difference in nats between raw log-probabilities here and in float32."""
        return _TOLERANCE[self._dtype]

    def memory(self) -> int:
        """Bytes of the resident checkpoints' weights, and of the blocks of keys and values that
        are in use or kept."""
        return sum(
            self._weights.get(id, 0) + decoder.cached_bytes
            for id, decoder in self._decoders.items()
        )

    async def score(
        self, checkpoint_id: str, prompt_ids: Sequence[int], output_ids: Sequence[int]
    ) -> list[float]:
        """Raw log-probabilities [T] of given output tokens, in one forward pass."""
        decoder = self._find(checkpoint_id)
        sampling = Sampling(max_tokens=len(output_ids))
        check_request(len(prompt_ids), sampling, self.context_length)
        loop = asyncio.get_running_loop()
        scores: asyncio.Future[list[float]] = loop.create_future()

        def done(result: list[float] | Exception) -> None:
            if scores.cancelled():
                return
            if isinstance(result, Exception):
                scores.set_exception(result)
            else:
                scores.set_result(result)

        def work() -> None:
            try:
                result = decoder.score(prompt_ids, output_ids)
            except Exception as error:
                result = EngineError(f"{checkpoint_id}: {error!r}")
            with suppress(RuntimeError):  # the loop has closed meanwhile: nobody waits
                loop.call_soon_threadsafe(done, result)

        if not self._worker.call(work):
            raise EngineError(f"{checkpoint_id}: the engine has ended")
        return await scores

    def _open(self, checkpoint: Checkpoint, base: Checkpoint | None) -> OpenVinoDecoder:
        if base is not None:
            model = adapt(base, checkpoint, self._cache)
        else:
            model = library().Core().read_model(to_openvino(checkpoint, self._cache))
        settings = self._settings
        width = 2 if self._dtype == "bfloat16" else 4
        self._weights[checkpoint.id] = width * parameters((base or checkpoint).folder)
        paged = PagedModel(model, self._dtype, settings.cores())
        return OpenVinoDecoder(
            paged, settings.slots, settings.context_length, settings.cache_mib << 20
        )

    def _release(self) -> None:
        """Checkpoints share nothing."""
