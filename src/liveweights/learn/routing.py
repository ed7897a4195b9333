"""Routing replay: a token of an update goes through the experts that it went through before.

A small change of the weights sends some tokens to other experts, and their ratios jump (arXiv
2507.18071 and 2510.11370). Recorded are the experts that the incumbent chose; replayed are only
the choices: their weights are those of the current scores, so that gradients flow. Shapes: N
tokens, E experts, K chosen, L routers.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

Weigh = Callable[[Tensor, Tensor], Tensor]


class UnknownRouter(ValueError):
    """A router whose weights do not follow from its scores in a known way."""


class Routing:
    """Records and replays the choices of a model's routers."""

    def __init__(self, model: Any) -> None:
        """Transformers' routers return scores (N, E), weights (N, K) and choices (N, K)."""
        self._routers = [m for m in model.modules() if type(m).__name__.endswith("Router")]
        self._weigh: dict[int, Weigh] = {}
        self._recorded: list[Tensor] | None = None
        self._replayed: Tensor | None = None
        for number, router in enumerate(self._routers):
            router.register_forward_hook(self._hook(number))

    def __len__(self) -> int:
        return len(self._routers)

    @contextmanager
    def recorded(self) -> Generator[list[Tensor]]:
        """The choices (N, K) of each router that runs inside."""
        self._recorded = []
        try:
            yield self._recorded
        finally:
            self._recorded = None

    def replay(self, choices_NLK: Tensor | None) -> None:
        """From now on routers choose these, -1 leaving a token its own choice; None: their own.

        It stays in force for the backward pass, which may compute the forward pass again.
        """
        self._replayed = choices_NLK

    def _hook(self, number: int) -> Callable[..., Any]:
        def hook(router: Any, _: Any, out: tuple[Tensor, Tensor, Tensor]) -> Any:
            scores_NE, weights_NK, choices_NK = out
            if self._recorded is not None:
                self._recorded.append(choices_NK.detach().to("cpu", torch.int16))
            if self._replayed is None:
                return out
            if number not in self._weigh:
                self._weigh[number] = find_weighing(scores_NE, weights_NK, choices_NK)
            wanted_NK = self._replayed[:, number].to(choices_NK)
            known_NK = wanted_NK >= 0
            kept_NK = torch.where(known_NK, wanted_NK, choices_NK)
            again_NK = self._weigh[number](scores_NE, kept_NK).to(weights_NK)
            return scores_NE, torch.where(known_NK, again_NK, weights_NK), kept_NK

        return hook


@torch.no_grad()
def find_weighing(scores_NE: Tensor, weights_NK: Tensor, choices_NK: Tensor) -> Weigh:
    """How this router makes weights of scores, up to a constant factor: by trying what is known.

    Softmax or sigmoid of all scores, taken at the choices, as they are or normalised to one; or
    a softmax of the chosen scores only. Raises UnknownRouter.
    """
    for weigh in _WEIGHINGS:
        ours_NK = weigh(scores_NE, choices_NK)
        factor = (weights_NK.float().sum() / ours_NK.sum()).item()
        if torch.allclose(ours_NK * factor, weights_NK.float(), rtol=1e-2, atol=1e-4):
            return _scaled(weigh, factor)
    raise UnknownRouter(
        "this model's router weighs its experts in an unknown way: set learn.routing to 'free'"
    )


def _scaled(weigh: Weigh, factor: float) -> Weigh:
    return lambda scores_NE, choices_NK: weigh(scores_NE, choices_NK) * factor


def _normalised(weigh: Weigh) -> Weigh:
    def normalised(scores_NE: Tensor, choices_NK: Tensor) -> Tensor:
        weights_NK = weigh(scores_NE, choices_NK)
        return weights_NK / weights_NK.sum(-1, keepdim=True)

    return normalised


def _softmax(scores_NE: Tensor, choices_NK: Tensor) -> Tensor:
    return scores_NE.float().softmax(-1).gather(-1, choices_NK)


def _sigmoid(scores_NE: Tensor, choices_NK: Tensor) -> Tensor:
    return scores_NE.float().sigmoid().gather(-1, choices_NK)


_WEIGHINGS: Sequence[Weigh] = (_normalised(_softmax), _softmax, _normalised(_sigmoid), _sigmoid)
