"""A Transformers model as the worker decodes it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import torch

from liveweights.catalog.routers import Choices, stack
from liveweights.engines.decoder import Outputs
from liveweights.engines.torch.batch import Batch, is_plain, prefill
from liveweights.engines.torch.prefixes import Prefix, Prefixes

log = logging.getLogger(__name__)


class TorchDecoder:
    """``Decoder`` on Transformers; see there.

    Models whose cache is more than keys and values per token are passed through row by row, each
    with a cache of its own, from which nothing can be taken back or read. ``choices`` are of the
    model's routers.
    """

    prompt_tokens = 1
    """Prompts of different lengths are not one batch."""
    takes_prompts_beside = False

    def __init__(
        self, checkpoint_id: str, model: Any, choices: Choices, prefixes: Prefixes
    ) -> None:
        self.model = model
        self._checkpoint_id = checkpoint_id
        self._choices = choices
        self._prefixes = prefixes
        self._batch = Batch(model)
        self._caches: list[Any] = []
        """Of the rows, where they cannot be batched."""
        self._ids: list[list[int]] = []
        """What has been through the model, of each row."""
        self._given: Sequence[Sequence[int]] = ()

    @property
    def takes_guesses(self) -> bool:
        return not self._caches

    def left(self, ids: Sequence[int]) -> int:
        return len(ids)  # prompts come one by one, whatever is shared: not looked for twice

    def forward(
        self, ids: Sequence[Sequence[int]], prompts: Sequence[Sequence[int]] = ()
    ) -> Outputs:
        outputs = [self._forward(ids)] if ids else []
        outputs += [self._join(prompt) for prompt in prompts]
        return Outputs(
            torch.cat([one.logits_NV for one in outputs]),
            [experts for one in outputs for experts in one.experts],
        )

    def _join(self, ids: Sequence[int]) -> Outputs:
        shared, layers = self._prefixes.find(self._checkpoint_id, ids)
        with self._choices.recorded() as choices:
            logits_V, cache = prefill(self.model, ids, shared, layers)
        if is_plain(cache):
            self._batch.join(cache)
        else:
            self._caches.append(cache)
        self._ids.append(list(ids))
        return Outputs(logits_V[None], _experts(choices, 1))

    def _forward(self, ids: Sequence[Sequence[int]]) -> Outputs:
        self._given = ids
        if self._caches:
            return self._forward_each(ids)
        with self._choices.recorded() as choices:
            logits_BTV = self._batch.forward(ids)
        logits_NV = logits_BTV.flatten(0, 1)
        return Outputs(logits_NV, _experts(choices, len(logits_NV)))

    def _forward_each(self, ids: Sequence[Sequence[int]]) -> Outputs:
        logits: list[torch.Tensor] = []
        experts: list[torch.Tensor | None] = []
        for row, token in enumerate(ids):
            with self._choices.recorded() as choices:
                out = self.model(
                    input_ids=torch.tensor([list(token)], device=self.model.device),
                    past_key_values=self._caches[row],
                    use_cache=True,
                    logits_to_keep=1,
                )
            self._caches[row] = out.past_key_values
            logits.append(out.logits[0, -1])
            experts += _experts(choices, 1)
        return Outputs(torch.stack(logits), experts)

    def advance(self, counts: Sequence[int]) -> None:
        if not self._caches:
            self._batch.advance(counts)
        for ids, given, count in zip(self._ids, self._given, counts, strict=True):
            ids += given[:count]

    def leave(self, row: int) -> None:
        ids = self._ids[row]
        self._ids[row] = self._ids[-1]
        self._ids.pop()
        if self._caches:
            self._caches[row] = self._caches[-1]
            self._caches.pop()
            return
        try:
            self._prefixes.keep(self._checkpoint_id, Prefix(tuple(ids), self._batch.read(row)))
        except RuntimeError as error:  # on a CPU there is no other kind
            if not isinstance(error, torch.OutOfMemoryError) and "allocate" not in str(error):
                raise
            log.warning("%s: no memory to keep what an answer computed", self._checkpoint_id)
        self._batch.leave(row)

    def clear(self) -> None:
        self._batch, self._caches, self._ids = Batch(self.model), [], []


def _experts(choices: list[torch.Tensor], rows: int) -> Sequence[torch.Tensor | None]:
    """What each of the last ``rows`` tokens of a pass went through (L, K); None of a dense
    model."""
    if not choices:
        return [None] * rows
    return stack([choices_NK[-rows:] for choices_NK in choices]).unbind()
