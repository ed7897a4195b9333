"""Serving with Transformers: any architecture, and the reference for the other engines."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from liveweights.catalog.routers import Choices
from liveweights.engines.in_process import InProcessEngine
from liveweights.engines.settings import EngineSettings
from liveweights.engines.torch import attention
from liveweights.engines.torch.adapters import replace_adapted
from liveweights.engines.torch.decoder import TorchDecoder
from liveweights.engines.torch.prefixes import Prefixes
from liveweights.weights.checkpoint import Checkpoint
from liveweights.weights.loading import LOADING, load_adapter, load_causal

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_TOLERANCE = {"float32": 0.001, "bfloat16": 0.1}


class TorchEngine(InProcessEngine[TorchDecoder]):
    """``Engine`` on Transformers and PEFT.

    What an answer seems to repeat is guessed and computed in the same step (``lookup``). Prompts
    go on from what earlier answers of the same checkpoint computed for the same tokens. Models
    whose cache is more than keys and values (state spaces, sliding windows) are decoded one
    answer at a time. Adapters on the same base share its weights, but for the experts that they
    adapt. The experts of a mixture are recorded as its routers choose them.
    """

    def __init__(
        self,
        base: Checkpoint,
        cache: Path,
        settings: EngineSettings | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
    ) -> None:
        del cache  # nothing to convert
        settings = settings or EngineSettings(kind="torch")
        self._dtype = "float32" if settings.dtype == "auto" else settings.dtype
        self._prefixes = Prefixes(settings.cache_mib << 20)
        self._shared: dict[str, tuple[Any, Choices]] = {}
        self._base_of: dict[str, str] = {}
        self._weighed: tuple[frozenset[str], int] = frozenset(), 0
        """Bytes of the tensors of these checkpoints."""
        super().__init__(base, settings, settings.cores(), tokenizer)

    @property
    def tolerance(self) -> float:
        """Mean absolute difference in nats between raw log-probabilities here and in float32."""
        return _TOLERANCE[self._dtype]

    def memory(self) -> int:
        """Bytes of the resident checkpoints' tensors, shared ones once, and of what is kept of
        their prompts."""
        if not self._decoders:
            return 0
        resident = self.resident()
        if self._weighed[0] != resident:
            held = {
                tensor.data_ptr(): tensor.nelement() * tensor.element_size()
                for decoder in self._decoders.values()
                for tensor in (*decoder.model.parameters(), *decoder.model.buffers())
            }
            self._weighed = resident, sum(held.values())
        return self._weighed[1] + self._prefixes.bytes

    async def unload(self, checkpoint_id: str) -> None:
        """Free the checkpoint's memory; see ``Engine.unload``."""
        await super().unload(checkpoint_id)
        self._worker.call(lambda: self._prefixes.drop(checkpoint_id))

    async def score(
        self, checkpoint_id: str, prompt_ids: Sequence[int], output_ids: Sequence[int]
    ) -> list[float]:
        """Raw log-probabilities [T] of given output tokens, in one forward pass."""
        model = self._find(checkpoint_id).model
        return await asyncio.to_thread(_score, model, list(prompt_ids), list(output_ids))

    def _open(self, checkpoint: Checkpoint, base: Checkpoint | None) -> TorchDecoder:
        whole = base or checkpoint
        with LOADING:
            if whole.id not in self._shared:
                self._shared[whole.id] = self._read(whole.folder)
            model, choices = self._shared[whole.id]
            if base is not None:
                model = _adapt(model, checkpoint.folder)
        if base is not None:
            self._base_of[checkpoint.id] = base.id
        return TorchDecoder(checkpoint.id, model, choices, self._prefixes)

    def _read(self, folder: Path) -> tuple[Any, Choices]:
        attention.register()
        model: Any = load_causal(folder, dtype=getattr(torch, self._dtype))
        return model.to(self._settings.device).eval().requires_grad_(False), Choices(model)

    def _release(self) -> None:
        """Forget bases that neither serve nor carry an adapter that serves."""
        self._base_of = {i: base for i, base in self._base_of.items() if i in self._decoders}
        for unused in set(self._shared) - set(self._decoders) - set(self._base_of.values()):
            del self._shared[unused]


def _adapt(base: Any, folder: Path) -> Any:
    """``base`` with a PEFT adapter, as a model of its own that shares the base's tensors.

    PEFT replaces modules in place; a copy of the module tree keeps that, and every later load,
    away from answers that are being computed on the base or on another adapter.
    """
    tensors = {id(t): t for t in (*base.parameters(), *base.buffers())}
    twin: Any = copy.deepcopy(base, tensors)
    adapted = load_adapter(twin, folder).eval().requires_grad_(False)
    _merge_experts(adapted)
    replace_adapted(adapted)
    return adapted


def _merge_experts(adapted: Any) -> None:
    """Give a model adapted experts of its own.

    PEFT would add their adapter to the weights of every expert in every pass, for each token.
    """
    from peft.tuners.lora.layer import ParamWrapper

    for module in adapted.modules():
        if isinstance(module, ParamWrapper):
            owner, name = module.get_base_layer(), module.parameter_name
            # The base has this parameter and its data too: it gets another, which a safe merge
            # gives data of its own.
            shared = getattr(owner, name).data
            setattr(owner, name, torch.nn.Parameter(shared, requires_grad=False))
            module.merge(safe_merge=True)


@torch.inference_mode()
def _score(model: Any, prompt_ids: list[int], output_ids: list[int]) -> list[float]:
    ids_1T = torch.tensor([prompt_ids + output_ids], device=model.device)
    out = model(input_ids=ids_1T, logits_to_keep=len(output_ids) + 1, use_cache=False)
    raw_TV = torch.log_softmax(out.logits[0, :-1].double(), dim=-1)
    chosen_T1 = torch.tensor(output_ids, device=raw_TV.device).unsqueeze(-1)
    return raw_TV.gather(-1, chosen_T1).squeeze(-1).tolist()
