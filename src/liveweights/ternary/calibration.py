"""What goes into each linear layer of a model while it reads texts.

Layers are gone through one after the other: only one layer's sums are held, and every layer sees
what those before it compute once they are rounded. Shapes: B texts, T tokens, D model, K inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


class CannotCalibrate(ValueError):
    """This model's layers are not gone through one after the other; says why."""


class _Enough(Exception):
    """The layer has been reached whose inputs are wanted."""


def decoder_layers(model: Any) -> tuple[str, torch.nn.ModuleList]:
    """The list of a model's layers, with its name. Raises CannotCalibrate."""
    count = model.config.get_text_config().num_hidden_layers
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.ModuleList) and len(module) == count:
            return name, module
    raise CannotCalibrate(f"{type(model).__name__} has no list of {count} layers")


def chunk_texts(ids: Sequence[int], length: int) -> Tensor:
    """[B, T] of consecutive tokens, what does not fill a row left out. Raises CannotCalibrate."""
    rows = len(ids) // length
    if rows < 2:
        raise CannotCalibrate(
            f"{len(ids)} tokens are too few: it takes two rows of {length}, to calibrate on and to "
            "measure on"
        )
    return torch.tensor(ids[: rows * length]).reshape(rows, length)


class Walk:
    """A model that is gone through layer by layer on the texts ``ids_BT``."""

    @torch.inference_mode()
    def __init__(self, model: Any, ids_BT: Tensor) -> None:
        self._layers = decoder_layers(model)[1]
        self._model = model
        self._hidden_BTD: list[Tensor] = []
        self._arguments: list[dict[str, Any]] = [{} for _ in self._layers]
        handles = [
            layer.register_forward_pre_hook(self._note(place), with_kwargs=True)
            for place, layer in enumerate(self._layers)
        ]
        try:
            model(input_ids=ids_BT[:1], use_cache=False)  # every layer's arguments
            self._hidden_BTD.clear()
            for ids_T in ids_BT:
                self._begin(ids_T[None])
        finally:
            for handle in handles:
                handle.remove()

    @property
    def count(self) -> int:
        return len(self._layers)

    @torch.inference_mode()
    def grams(self, place: int, names: Iterable[str]) -> dict[str, Tensor]:
        """X^T X [K, K] of the inputs of a layer's linear layers of those names."""
        layer = self._layers[place]
        sums: dict[str, Tensor] = {}
        with _watched(layer, names, lambda name, x_TK: _add(sums, name, x_TK)):
            for hidden_1TD in self._hidden_BTD:
                self._forward(place, hidden_1TD)
        return sums

    @torch.inference_mode()
    def step(self, place: int) -> None:
        """Go on to what the layer makes of its inputs."""
        self._hidden_BTD = [self._forward(place, hidden) for hidden in self._hidden_BTD]

    def _forward(self, place: int, hidden_1TD: Tensor) -> Tensor:
        out: Any = self._layers[place](hidden_1TD, **self._arguments[place])
        return out[0] if isinstance(out, tuple) else out

    def _begin(self, ids_1T: Tensor) -> None:
        self._stopping = True
        try:
            self._model(input_ids=ids_1T, use_cache=False)
        except _Enough:
            pass
        finally:
            self._stopping = False

    _stopping = False

    def _note(self, place: int) -> Callable[..., None]:
        def hook(layer: Any, positional: tuple[Any, ...], arguments: dict[str, Any]) -> None:
            if len(positional) != 1 and "hidden_states" not in arguments:
                raise CannotCalibrate(f"{type(layer).__name__} is not called with hidden states")
            others = {k: v for k, v in arguments.items() if k != "hidden_states"}
            self._arguments[place] = others
            if place == 0:
                hidden = positional[0] if positional else arguments["hidden_states"]
                self._hidden_BTD.append(hidden)
                if self._stopping:
                    raise _Enough

        return hook


@contextmanager
def _watched(
    layer: Any, names: Iterable[str], see: Callable[[str, Tensor], None]
) -> Generator[None]:
    def hook(name: str) -> Callable[..., None]:
        return lambda module, given: see(name, given[0].reshape(-1, given[0].shape[-1]))

    handles = [layer.get_submodule(name).register_forward_pre_hook(hook(name)) for name in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _add(sums: dict[str, Tensor], name: str, x_TK: Tensor) -> None:
    x_TK = x_TK.float()
    if name in sums:
        sums[name].addmm_(x_TK.T, x_TK)
    else:
        sums[name] = x_TK.T @ x_TK


@torch.inference_mode()
def perplexity(model: Any, ids_BT: Tensor) -> float:
    """exp of the mean loss per token, each row by itself."""
    total, count = 0.0, 0
    for ids_T in ids_BT:
        logits_TV = model(input_ids=ids_T[None], use_cache=False).logits[0, :-1].float()
        total += float(torch.nn.functional.cross_entropy(logits_TV, ids_T[1:], reduction="sum"))
        count += len(ids_T) - 1
    return float(torch.tensor(total / count).exp())
