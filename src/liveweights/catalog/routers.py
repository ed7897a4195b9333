"""The routers of a mixture of experts, and what they choose.

Shapes: N tokens, E experts, K chosen, L routers.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def find_routers(model: Any) -> list[tuple[int, Any]]:
    """A Transformers model's routers, in order, each with the number of its decoder layer.

    Each returns scores (N, E), weights (N, K) and choices (N, K). Empty for a dense model.
    """
    return [
        (int(number[1]), module)
        for name, module in model.named_modules()
        if type(module).__name__.endswith("Router") and (number := re.search(r"\.(\d+)\.", name))
    ]


class Choices:
    """Hears what a model's routers choose.

    Copies of the model that share its modules' hooks (``copy.deepcopy``) are heard too. A thread
    hears only the passes that it makes itself.
    """

    def __init__(self, model: Any) -> None:
        routers = find_routers(model)
        self.layers = [layer for layer, _ in routers]
        self._heard = threading.local()
        for _, router in routers:
            router.register_forward_hook(self._hook())

    @contextmanager
    def recorded(self) -> Generator[list[Tensor]]:
        """The choices (N, K) of each router that runs inside, in order; see ``stack``."""
        heard: list[Tensor] = []
        self._heard.choices = heard
        try:
            yield heard
        finally:
            self._heard.choices = None

    def _hook(self) -> Callable[..., None]:
        def hook(router: Any, _: Any, out: tuple[Tensor, Tensor, Tensor]) -> None:
            heard: list[Tensor] | None = getattr(self._heard, "choices", None)
            if heard is not None:
                heard.append(out[2].detach())

        return hook


def stack(choices: list[Tensor]) -> Tensor:
    """The choices of one pass (N, L, K), int16, on the CPU."""
    return torch.stack(choices, dim=1).to("cpu", torch.int16)
