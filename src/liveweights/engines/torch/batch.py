"""Answers of one checkpoint that are decoded together, each at a position of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer

from liveweights.engines.torch.prefixes import Layers

_GROWTH = 256
"""Tokens by which the rows' room grows."""


class _Rows(DynamicLayer):
    """Keys and values [rows, heads, room, head_dim] of one layer; a row begins at place 0.

    A step writes each row's new tokens behind what the row holds. What lies behind that, up to
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
        rows_B1, places_BT = self._batch.rows_B1, self._batch.places_BT
        count, length = len(rows_B1), self._batch.longest + places_BT.shape[1]
        keys, values = self.keys[:count, :, :length], self.values[:count, :, :length]
        if count == 1:
            keys[:, :, self._batch.longest :] = key_states
            values[:, :, self._batch.longest :] = value_states
        else:
            keys[rows_B1, :, places_BT] = key_states.transpose(1, 2)
            values[rows_B1, :, places_BT] = value_states.transpose(1, 2)
        return keys, values

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
        self.rows_B1 = torch.empty(0, 1, dtype=torch.long)
        self.places_BT = self.rows_B1

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
        """What a row holds, for as long as it is there: no copy."""
        length = self._lengths[row]
        return [
            (layer.keys[row : row + 1, :, :length], layer.values[row : row + 1, :, :length])
            for layer in self._layers()
        ]

    def forward(self, ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Logits [B, T, V] after each of a row's next tokens: one, or several of a lone row.

        ``advance`` says how many of them the rows keep.
        """
        device = self._model.device
        ids_BT = torch.tensor(ids, device=device)
        steps = ids_BT.shape[1]
        self.longest = max(self._lengths)
        self._make_room(len(self), self.longest + steps, [])
        lengths_B1 = torch.tensor(self._lengths, device=device).unsqueeze(1)
        self.rows_B1 = torch.arange(len(self), device=device).unsqueeze(1)
        self.places_BT = lengths_B1 + torch.arange(steps, device=device)
        seen_S = torch.arange(self.longest + steps, device=device)
        out = self._model(
            input_ids=ids_BT,
            attention_mask=(seen_S <= self.places_BT[:, -1:]).long(),
            position_ids=self.places_BT,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=steps,
        )
        return out.logits

    def advance(self, counts: Sequence[int]) -> None:
        """Keep the first ``counts`` [B] of the tokens that each row was given last."""
        self._lengths = [length + n for length, n in zip(self._lengths, counts, strict=True)]

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
