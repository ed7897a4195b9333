"""Answers of one checkpoint that are decoded together, each at a position of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from liveweights.engines.torch_prefixes import Layers

_GROWTH = 256
"""Tokens by which the rows' room grows."""


class _Rows(DynamicLayer):
    """Keys and values [rows, heads, room, head_dim] of one layer; a row begins at place 0.

    A step writes each row's new token behind what the row holds. What lies behind that, up to
    the longest row, is masked by whoever calls the model.
    """

    def __init__(self, batch: Batch) -> None:
        super().__init__()
        self._batch = batch
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        assert self.keys is not None
        assert self.values is not None
        batch = self._batch
        rows_B, places_B = batch.rows_B, batch.places_B
        self.keys[rows_B, :, places_B] = key_states[:, :, 0]
        self.values[rows_B, :, places_B] = value_states[:, :, 0]
        count, length = len(rows_B), batch.longest + 1
        return self.keys[:count, :, :length], self.values[:count, :, :length]

    def get_seq_length(self) -> int:
        return self._batch.longest


class Batch:
    """Up to ``rows`` answers on one model; row i is that of the i-th answer that joined and has
    not left, up to the order, which changes when one leaves."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._cache: Cache | None = None
        self._lengths: list[int] = []
        self.longest = 0
        self.rows_B = torch.empty(0, dtype=torch.long)
        self.places_B = self.rows_B

    def __len__(self) -> int:
        return len(self._lengths)

    def join(self, computed: DynamicCache) -> None:
        """Add a row that holds what was computed for a prompt."""
        length = computed.get_seq_length()
        layers: Any = computed.layers
        if self._cache is None:
            self._cache = Cache(layers=[_Rows(self) for _ in layers])
        self._make_room(len(self) + 1, length + 1, layers)
        row = len(self)
        for mine, theirs in zip(self._layers(), layers, strict=True):
            mine.keys[row, :, :length] = theirs.keys[0]
            mine.values[row, :, :length] = theirs.values[0]
        self._lengths.append(length)

    def leave(self, row: int) -> None:
        """Remove a row; the last one takes its place."""
        last = len(self) - 1
        if row != last:
            length = self._lengths[last]
            for layer in self._layers():
                layer.keys[row, :, :length] = layer.keys[last, :, :length]
                layer.values[row, :, :length] = layer.values[last, :, :length]
            self._lengths[row] = length
        self._lengths.pop()
        if not self._lengths:
            self._cache = None

    def read(self, row: int) -> Layers:
        """A copy of what a row holds."""
        length = self._lengths[row]
        return [
            (layer.keys[row : row + 1, :, :length].clone(),
             layer.values[row : row + 1, :, :length].clone())
            for layer in self._layers()
        ]  # fmt: skip

    def forward(self, ids_B: Sequence[int]) -> torch.Tensor:
        """Logits [B, V] after one more token in each row."""
        device = self._model.device
        self.longest = max(self._lengths)
        self._make_room(len(self), self.longest + 1, [])
        lengths_B = torch.tensor(self._lengths, device=device)
        self.rows_B = torch.arange(len(self), device=device)
        self.places_B = lengths_B
        seen_S = torch.arange(self.longest + 1, device=device)
        out = self._model(
            input_ids=torch.tensor(ids_B, device=device).unsqueeze(1),
            attention_mask=(seen_S <= lengths_B.unsqueeze(1)).long(),
            position_ids=lengths_B.unsqueeze(1),
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self._lengths = [length + 1 for length in self._lengths]
        return out.logits[:, -1]

    def _layers(self) -> Any:
        assert self._cache is not None
        return self._cache.layers

    def _make_room(self, rows: int, length: int, like: Any) -> None:
        """Let every layer hold ``rows`` rows of ``length`` tokens."""
        for place, layer in enumerate(self._layers()):
            old = layer.keys
            if old is not None and old.shape[0] >= rows and old.shape[2] >= length:
                continue
            source = like[place] if old is None else layer
            room = -(-length // _GROWTH) * _GROWTH
            if old is not None:
                room, more = max(room, old.shape[2]), max(rows, old.shape[0])
            else:
                more = rows
            for name in ("keys", "values"):
                before = getattr(source, name)
                shape = (more, before.shape[1], room, before.shape[3])
                new = before.new_zeros(shape)
                if old is not None:
                    new[: before.shape[0], :, : before.shape[2]] = before
                setattr(layer, name, new)


def is_plain(cache: Any) -> bool:
    """Whether a model's cache is keys and values per token in every layer, and nothing else."""
    return type(cache) is DynamicCache and all(
        type(layer) is DynamicLayer for layer in cache.layers
    )


def prefill(
    model: Any, ids: Sequence[int], shared: int, layers: Layers
) -> tuple[torch.Tensor, Any]:
    """Logits [V] after ``ids``, and the cache; the first ``shared`` tokens are in ``layers``."""
    cache: DynamicCache | None = None
    if shared:
        cache = DynamicCache()
        for place, (keys, values) in enumerate(layers):
            cache.update(keys[:, :, :shared], values[:, :, :shared], place)
    out = model(
        input_ids=torch.tensor([list(ids[shared:])], device=model.device),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    return out.logits[0, -1], out.past_key_values
