"""What the worker asks of a checkpoint's model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch


@dataclass(frozen=True, slots=True)
class Outputs:
    """Of the N tokens of a pass that were asked for, row after row.

    ``logits_NV`` are on any device, of any precision. ``experts`` are those that they came of,
    (routers, chosen) each; None of a dense model.
    """

    logits_NV: torch.Tensor
    experts: Sequence[torch.Tensor | None]


class Decoder(Protocol):
    """A checkpoint's model, and what it has computed for the answers that are decoded together.

    Each answer has a row. Rows are numbered in the order in which they joined; where one leaves,
    the last takes its place. All of this is called from one thread. A pass that fails leaves the
    rows as they were, or ``clear`` is called.
    """

    @property
    def prompt_tokens(self) -> int:
        """So many tokens of prompts are begun in one pass at most, unless one prompt is longer."""
        ...

    def left(self, ids: Sequence[int]) -> int:
        """How many tokens of a prompt a pass would compute, or more: see ``prompt_tokens``."""
        ...

    @property
    def takes_guesses(self) -> bool:
        """Whether ``forward`` takes several tokens of a row, and ``advance`` some of them back."""
        ...

    @property
    def takes_prompts_beside(self) -> bool:
        """Whether ``forward`` takes prompts beside rows' tokens at less than two passes cost."""
        ...

    def forward(
        self, ids: Sequence[Sequence[int]], prompts: Sequence[Sequence[int]] = ()
    ) -> Outputs:
        """Logits after each of the rows' next tokens: one of each row, or several of a lone row;
        then after each prompt, for which a row is added.

        ``ids`` may be empty, which leaves the rows alone. ``advance`` says how many of them the
        rows keep.
        """
        ...

    def advance(self, counts: Sequence[int]) -> None:
        """Keep the first ``counts`` of the tokens that the rows were given last; not of prompts,
        which are kept whole."""
        ...

    def leave(self, row: int) -> None:
        """Remove a row; what it computed may serve prompts that begin the same."""
        ...

    def clear(self) -> None:
        """Remove all rows, and keep nothing of them."""
        ...
