"""Kept routing: a token of an update goes through the experts that it went through before.

A small change of the weights sends some tokens to other experts, and their ratios jump (arXiv
2507.18071 and 2510.11370). Kept are only the choices: their weights are those of the current
scores, so that gradients flow. Shapes: N tokens, E experts, K chosen, L routers, T answer tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor

from liveweights.catalog.routers import Choices, find_routers
from liveweights.engines.experts import Experts

Weigh = Callable[[Tensor, Tensor], Tensor]


class UnknownRouter(ValueError):
    """A router whose weights do not follow from its scores in a known way."""


class Routing:
    """Records and forces the choices of a model's routers."""

    def __init__(self, model: Any) -> None:
        self._weigh: dict[int, Weigh] = {}
        self._forced: Tensor | None = None
        self._sizes: dict[int, tuple[int, int]] = {}
        for number, (_, router) in enumerate(find_routers(model)):
            router.register_forward_hook(self._hook(number))
        self._choices = Choices(model)  # after forcing: what tokens go through in the end
        self._layers: int = model.config.get_text_config().num_hidden_layers

    def __len__(self) -> int:
        return len(self._choices.layers)

    def recorded(self) -> AbstractContextManager[list[Tensor]]:
        """The experts (N, K) that tokens go through in each router that runs inside."""
        return self._choices.recorded()

    def force(self, choices_NLK: Tensor | None) -> None:
        """From now on routers choose these, -1 leaving a token its own choice; None: their own.

        It stays in force for the backward pass, which may compute the forward pass again.
        """
        self._forced = choices_NLK

    def fit(self, experts: Experts) -> Tensor | None:
        """The choices of this model's routers (T, L, K) in a recording; None where it is not of
        such a model. At least one pass must have been made."""
        chosen_TLK = torch.from_numpy(experts.chosen)
        if chosen_TLK.shape[1] == self._layers:
            chosen_TLK = chosen_TLK[:, self._choices.layers]
        if chosen_TLK.shape[1] != len(self):
            return None
        for number, (available, chosen) in self._sizes.items():
            choices_TK = chosen_TLK[:, number].sort(-1).values
            if (
                choices_TK.shape[1] != chosen
                or choices_TK.min() < 0
                or choices_TK.max() >= available
            ):
                return None
            if (choices_TK[:, 1:] == choices_TK[:, :-1]).any():
                return None  # nothing was recorded there
        return chosen_TLK

    def _hook(self, number: int) -> Callable[..., Any]:
        def hook(router: Any, _: Any, out: tuple[Tensor, Tensor, Tensor]) -> Any:
            scores_NE, weights_NK, choices_NK = out
            self._sizes[number] = scores_NE.shape[-1], choices_NK.shape[-1]
            if self._forced is None:
                return out
            if number not in self._weigh:
                self._weigh[number] = find_weighing(scores_NE, weights_NK, choices_NK)
            wanted_NK = self._forced[:, number].to(choices_NK)
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
