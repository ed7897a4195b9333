"""Serving with Transformers: any architecture, and the reference for the other engines."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from liveweights.catalog.checkpoint import Checkpoint
from liveweights.catalog.models import end_of_text_ids, load_tokenizer
from liveweights.catalog.routers import Choices
from liveweights.engines.guide import GuideMaker
from liveweights.engines.limits import check_request
from liveweights.engines.protocol import EngineError, Sampling, Token, UnknownCheckpoint
from liveweights.engines.settings import EngineSettings
from liveweights.engines.text import TextStream
from liveweights.engines.torch_worker import Answer, Worker

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TOLERANCE = {"float32": 0.001, "bfloat16": 0.1}


@dataclass(frozen=True, slots=True)
class _Resident:
    model: Any
    choices: Choices
    base: str | None


class TorchEngine:
    """``Engine`` on Transformers and PEFT.

    One thread computes a token of every answer of a checkpoint in one batch; new answers join
    between two steps. What an answer seems to repeat is guessed and computed in the same step
    (``lookup``). Prompts go on from what earlier answers of the same checkpoint computed
    for the same tokens. Models whose cache is more than keys and values (state spaces, sliding
    windows) are decoded one answer at a time. Adapters on the same base share its weights. The
    experts of a mixture are recorded as its routers choose them.
    """

    def __init__(
        self,
        base: Checkpoint,
        cache: Path,
        settings: EngineSettings | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        del cache  # nothing to convert
        self._settings = settings or EngineSettings(kind="torch")
        self._tokenizer = tokenizer or load_tokenizer(base)
        self._ends = end_of_text_ids(base, self._tokenizer)
        self._guides = GuideMaker(self._tokenizer, self._ends)
        self._models: dict[str, _Resident] = {}
        self._shared: dict[str, tuple[Any, Choices]] = {}
        self._loads = asyncio.Lock()
        settings = self._settings
        self._worker = Worker(
            settings.cores(), settings.slots, settings.guesses, settings.cache_mib << 20
        )

    @property
    def context_length(self) -> int:
        """Tokens of prompt and answer together."""
        return self._settings.context_length

    @property
    def tolerance(self) -> float:
        """Mean absolute difference in nats between raw log-probabilities here and in float32."""
        return _TOLERANCE[self._settings.dtype]

    def resident(self) -> frozenset[str]:
        """Ids of the checkpoints that can answer now."""
        return frozenset(self._models)

    async def active(self, checkpoint_id: str) -> int:
        """How many answers the checkpoint is computing now."""
        return self._worker.active(checkpoint_id)

    async def load(self, checkpoint: Checkpoint, base: Checkpoint | None = None) -> None:
        """Make ``checkpoint`` resident; see ``Engine.load``."""
        if (checkpoint.kind == "adapter") != (base is not None):
            raise EngineError(f"{checkpoint.id}: a base is given exactly with an adapter")
        async with self._loads:
            if checkpoint.id in self._models:
                return
            try:
                whole = base or checkpoint
                if whole.id not in self._shared:
                    self._shared[whole.id] = await asyncio.to_thread(self._read, whole.folder)
                model, choices = self._shared[whole.id]
                if base is not None:
                    model = await asyncio.to_thread(_adapt, model, checkpoint.folder)
            except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
                self._release()
                raise EngineError(f"{checkpoint.id} does not load: {error}") from error
            self._models[checkpoint.id] = _Resident(model, choices, base.id if base else None)

    async def unload(self, checkpoint_id: str) -> None:
        """Free the checkpoint's memory; see ``Engine.unload``."""
        async with self._loads:
            self._models.pop(checkpoint_id, None)
            self._worker.forget(checkpoint_id)
            self._release()

    async def close(self) -> None:
        """Unload everything and end the thread."""
        await asyncio.to_thread(self._worker.close)
        self._models.clear()
        self._shared.clear()

    async def generate(
        self, checkpoint_id: str, prompt_ids: Sequence[int], sampling: Sampling
    ) -> AsyncGenerator[Token]:
        """Sample an answer, token by token; see ``Engine.generate``."""
        resident = self._find(checkpoint_id)
        check_request(len(prompt_ids), sampling, self.context_length)
        guide = await self._guides.make(sampling.constraint) if sampling.constraint else None
        tokens: asyncio.Queue[Token | BaseException] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def emit(item: Token | BaseException) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(tokens.put_nowait, item)

        text = TextStream(self._tokenizer, sampling.stop, sampling.skip)
        answer = Answer(
            checkpoint_id,
            resident.model,
            resident.choices,
            prompt_ids,
            sampling,
            text,
            self._ends,
            emit,
            guide,
        )
        self._worker.submit(answer)
        try:
            while True:
                token = await tokens.get()
                if isinstance(token, BaseException):
                    raise token
                yield token
                if token.stop:
                    return
        finally:
            answer.cancelled = True

    async def score(
        self, checkpoint_id: str, prompt_ids: Sequence[int], output_ids: Sequence[int]
    ) -> list[float]:
        """Raw log-probabilities [T] of given output tokens, in one forward pass."""
        model = self._find(checkpoint_id).model
        return await asyncio.to_thread(_score, model, list(prompt_ids), list(output_ids))

    def _find(self, checkpoint_id: str) -> _Resident:
        found = self._models.get(checkpoint_id)
        if found is None:
            raise UnknownCheckpoint(f"{checkpoint_id} is not resident on this engine")
        return found

    def _read(self, folder: Path) -> tuple[Any, Choices]:
        from transformers import AutoModelForCausalLM

        dtype = getattr(torch, self._settings.dtype)
        model: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, local_files_only=True
        )
        return model.to(self._settings.device).eval().requires_grad_(False), Choices(model)

    def _release(self) -> None:
        """Forget bases that neither serve nor carry an adapter that serves."""
        used = set(self._models) | {r.base for r in self._models.values()}
        for unused in set(self._shared) - used:
            del self._shared[unused]


def _adapt(base: Any, folder: Path) -> Any:
    """``base`` with a PEFT adapter, as a model of its own that shares the base's tensors.

    PEFT replaces modules in place; a copy of the module tree keeps that, and every later load,
    away from answers that are being computed on the base or on another adapter.
    """
    from peft import PeftModel

    tensors = {id(t): t for t in (*base.parameters(), *base.buffers())}
    twin: Any = copy.deepcopy(base, tensors)
    return PeftModel.from_pretrained(twin, str(folder)).eval().requires_grad_(False)


@torch.inference_mode()
def _score(model: Any, prompt_ids: list[int], output_ids: list[int]) -> list[float]:
    ids_1T = torch.tensor([prompt_ids + output_ids], device=model.device)
    out = model(input_ids=ids_1T, logits_to_keep=len(output_ids) + 1, use_cache=False)
    raw_TV = torch.log_softmax(out.logits[0, :-1].double(), dim=-1)
    chosen_T1 = torch.tensor(output_ids, device=raw_TV.device).unsqueeze(-1)
    return raw_TV.gather(-1, chosen_T1).squeeze(-1).tolist()
