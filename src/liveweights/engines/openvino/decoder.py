"""A compiled OpenVINO model as the worker decodes it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from liveweights.engines.decoder import Outputs
from liveweights.engines.openvino.blocks import Blocks, Row
from liveweights.engines.openvino.model import PagedModel, Part


class OpenVinoDecoder:
    """``Decoder`` on a paged model; see there.

    There is room for ``rows`` rows of ``length`` tokens each, and about ``cache_bytes`` more for
    what rows leave behind. Prompts go on from whole blocks that they share with earlier ones.
    """

    prompt_tokens = 512
    """Beyond about so many, a pass takes as much longer as there are more."""
    takes_guesses = True
    takes_prompts_beside = True

    def __init__(self, model: PagedModel, rows: int, length: int, cache_bytes: int) -> None:
        self._model = model
        whole = -(-length // model.block)
        count = (rows + 1) * whole + cache_bytes // model.block_bytes  # one to score with
        model.allocate(count)
        self.blocks = Blocks(count, model.block)
        self._rows: list[Row] = []
        self._given: Sequence[Sequence[int]] = ()

    @property
    def cached_bytes(self) -> int:
        """Of the keys and values in blocks that are held or kept."""
        return (self._model.blocks - self.blocks.free) * self._model.block_bytes

    def left(self, ids: Sequence[int]) -> int:
        return len(ids) - self.blocks.size * len(self.blocks.find(ids))

    def forward(
        self, ids: Sequence[Sequence[int]], prompts: Sequence[Sequence[int]] = ()
    ) -> Outputs:
        begun: list[Row] = []
        parts: list[Part] = []
        if ids:
            self._given = ids
            for row, given in zip(self._rows, ids, strict=True):
                self.blocks.reserve(row, len(row.ids) + len(given))
                parts.append(Part(given, len(row.ids), row.blocks, len(given)))
        try:
            for prompt in prompts:
                begun.append(row := self.blocks.begin(prompt))
                self.blocks.reserve(row, len(prompt))
                parts.append(Part(prompt[len(row.ids) :], len(row.ids), row.blocks))
            logits_NV = self._model.forward(parts)
        except Exception:
            for row in begun:
                self.blocks.end(row)
            raise
        for row, prompt in zip(begun, prompts, strict=True):
            self.blocks.write(row, prompt[len(row.ids) :])
        self._rows += begun
        return Outputs(logits_NV, [None] * len(logits_NV))

    def advance(self, counts: Sequence[int]) -> None:
        # Rows of prompts that came in the same pass stand behind those that were given tokens.
        for row, given, count in zip(self._rows, self._given, counts, strict=False):
            self.blocks.write(row, given[:count])

    def leave(self, row: int) -> None:
        self.blocks.end(self._rows[row])
        self._rows[row] = self._rows[-1]
        self._rows.pop()

    def clear(self) -> None:
        for row in self._rows:
            self.blocks.end(row)
        self._rows = []

    def score(self, prompt_ids: Sequence[int], output_ids: Sequence[int]) -> list[float]:
        """Raw log-probabilities [T] of given output tokens, in one pass."""
        ids = [*prompt_ids, *output_ids]
        row = Row()
        self.blocks.reserve(row, len(ids))
        try:
            part = Part(ids, 0, row.blocks, len(output_ids) + 1)
            raw_TV = self._model.forward([part])[:-1].double().log_softmax(-1)
        finally:
            self.blocks.end(row)
        chosen_T1 = torch.tensor([*output_ids]).unsqueeze(-1)
        return raw_TV.gather(-1, chosen_T1).squeeze(-1).tolist()
