"""Training a ternary model to say what the dense one says.

Each ternary matrix has weights behind it that are not rounded. A pass computes with what they round
to, and its gradient moves them as if they had not been rounded (a straight-through estimator, arXiv
1308.3432); scales are learnt with them (as in arXiv 1902.08153). The loss is the divergence of the
next token's distribution from the dense model's. Shapes: B rows, T tokens, V vocabulary, N outputs,
K inputs, G inputs per scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from liveweights.machine import available_memory
from liveweights.ternary.job import STEP
from liveweights.ternary.layers import TernaryLinear
from liveweights.weights.staging import exclusive, publish, staged
from liveweights.weights.tensors import TensorHash
from liveweights.weights.ternary.matrix import TernaryMatrix

_CHUNK = 1 << 24
"""Logits of teacher or student that are held at once: 64 MiB of them."""
_MARGIN = 0.02
"""Of half a scale: how far inside of what rounds to its trit a weight begins, at least."""
STATE = "state.pt"
"""In the folder that a training is kept in, from the first time that it is saved."""
_BETAS = (0.9, 0.95)


class CannotTrain(ValueError):
    """This is not trained, or not gone on with; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """``rows`` of text are a step; ``warmup`` steps until the learning rate is whole, from where it
    falls to a tenth along a cosine. Every ``save_every`` steps all is written down."""

    steps: int
    rows: int = 4
    learning_rate: float = 1e-4
    warmup: int = 20
    save_every: int = 50
    seed: int = 0


class LatentLinear(torch.nn.Module):
    """A linear layer whose ``weight`` [N, K] is rounded with ``scales`` [N, K/G] as it computes,
    and whose inputs are rounded to bytes, as they are where it is served."""

    def __init__(self, weight_NK: Tensor, packed: TernaryLinear) -> None:
        super().__init__()
        scales = packed.scales.float()
        self.weight = torch.nn.Parameter(place_latents(weight_NK, packed))
        self.scales = torch.nn.Parameter(scales)
        self.bias = packed.bias

    def trits(self) -> tuple[Tensor, Tensor]:
        """Trits [N, K/G, G], and the scales [N, K/G] they go with: 16-bit ones, not negative."""
        return _round(self.weight.detach(), self.scales.detach())

    def forward(self, input: Tensor) -> Tensor:
        product: Any = _Product
        out = product.apply(input, self.weight, self.scales)
        return out if self.bias is None else out + self.bias

    def pack(self) -> TernaryMatrix:
        trits, scales = self.trits()
        flat = trits.reshape(self.weight.shape).to(torch.int8)
        return TernaryMatrix.pack(flat.numpy(), scales.half().numpy())


class _Product(torch.autograd.Function):
    """Keeps for the gradient only what is there anyway: what weights round to is made again, or
    all layers' would be held at once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_NK: Tensor, learnt: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight_NK, learnt)
        return F.linear(_round_input(x), _dequantise(*_round(weight_NK, learnt)))

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = gradients
        x, weight_NK, learnt = ctx.saved_tensors
        trits, scales = _round(weight_NK, learnt)
        by_input = gradient @ _dequantise(trits, scales) if ctx.needs_input_grad[0] else None
        by_weight = gradient.flatten(0, -2).T @ _round_input(x).flatten(0, -2)
        return by_input, by_weight, (by_weight.reshape(trits.shape) * trits).sum(-1)


def _round(weight_NK: Tensor, learnt: Tensor) -> tuple[Tensor, Tensor]:
    scales = learnt.clamp(min=0).half().float()
    grouped = weight_NK.reshape(*scales.shape, -1)
    chosen = (grouped.abs() > scales[..., None] / 2) & (scales[..., None] > 0)
    return grouped.sign() * chosen, scales


def _dequantise(trits: Tensor, scales: Tensor) -> Tensor:
    return (trits * scales[..., None]).flatten(1)


def place_latents(weight_NK: Tensor, packed: TernaryLinear) -> Tensor:
    """The dense weights [N, K], each moved to the nearest value that rounds to its trit: where
    rounding with feedback began, and with what is known of how close each was."""
    scales = packed.scales.float()
    trits = packed.dequantise(torch.float32).reshape(*scales.shape, -1).sign()
    half = scales[..., None] / 2
    grouped = weight_NK.float().reshape(trits.shape)
    inner = (1 - _MARGIN) * half
    within = grouped.clamp(-inner, inner)
    beyond = trits * (grouped * trits).maximum((1 + _MARGIN) * half)
    return torch.where(trits == 0, within, beyond).reshape(weight_NK.shape)


def _round_input(x: Tensor) -> Tensor:
    """As the kernels round."""
    given = x.unflatten(-1, (-1, STEP))
    step = given.abs().amax(dim=-1, keepdim=True).clamp(min=1e-30) / 127
    return ((given / step).round() * step).flatten(-2)


def divergence(
    student: tuple[Tensor, Any], teacher: tuple[Tensor, Any], *, chunk: int = _CHUNK
) -> Tensor:
    """Mean KL(teacher || student) in nats over tokens; each is hidden states [T, D] and an output
    layer.

    Logits [T, V] are made in pieces, and made again for the gradient.
    """
    hidden_TD, head = student
    target_TD, target_head = teacher
    rows = max(1, chunk // target_head.weight.shape[0])

    def part(hidden: Tensor, target: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = target_head(target).float().log_softmax(-1)
        given = head(hidden).float().log_softmax(-1)
        return F.kl_div(given, wanted, log_target=True, reduction="sum")

    total = torch.zeros(())
    for hidden, target in zip(hidden_TD.split(rows), target_TD.split(rows), strict=True):
        total = total + checkpoint(part, hidden, target, use_reentrant=False)
    return total / len(hidden_TD)


class Distiller:
    """A student and its teacher, and how far they have come. ``state`` is the folder in which that
    is kept; a second one on the same folder goes on from there.

    Raises CannotTrain where memory does not hold it all, or the state is of another training.
    """

    def __init__(
        self, teacher: Any, student: Any, ids_BT: Tensor, training: Training, state: Path
    ) -> None:
        self._teacher = teacher.eval().requires_grad_(False)
        self._student = student.requires_grad_(False)
        self._ids_BT, self._training, self._state = ids_BT, training, state
        _check_memory(student)
        self._of = {
            "training": asdict(training),
            "models": [_digest(teacher), _digest(student)],
            "text": _hash({"ids": ids_BT}),
        }
        self._latents = _put_latents(teacher, student)
        parameters = [
            p for latent in self._latents.values() for p in (latent.weight, latent.scales)
        ]
        self._optimizer = torch.optim.AdamW(
            parameters, lr=training.learning_rate, betas=_BETAS, weight_decay=0.0
        )
        self.step = 0
        self._resume()

    def run(self, tell: Callable[[int, float], None]) -> None:
        """Take the steps that are left; ``tell(step, loss)`` after each."""
        training = self._training
        for step in range(self.step, training.steps):
            for group in self._optimizer.param_groups:
                group["lr"] = training.learning_rate * _pace(step, training)
            loss = self._learn(step)
            self.step = step + 1
            if self.step % training.save_every == 0 or self.step == training.steps:
                self._save()
            tell(self.step, loss)

    def matrices(self) -> dict[str, TernaryMatrix]:
        """What has been learnt, by the layers' names."""
        return {name: latent.pack() for name, latent in self._latents.items()}

    def _learn(self, step: int) -> float:
        rows = min(self._training.rows, len(self._ids_BT))
        order = torch.Generator().manual_seed(self._training.seed * 1_000_003 + step)
        chosen = torch.randperm(len(self._ids_BT), generator=order)[:rows]
        total = 0.0
        for row in chosen:  # one at a time: memory is that of a row
            ids_1T = self._ids_BT[row][None]
            with torch.no_grad():
                target = self._teacher.base_model(input_ids=ids_1T, use_cache=False)
            hidden = self._student.base_model(input_ids=ids_1T, use_cache=False)
            loss = divergence(
                (hidden.last_hidden_state[0], self._student.get_output_embeddings()),
                (target.last_hidden_state[0], self._teacher.get_output_embeddings()),
            )
            (loss / rows).backward()
            total += float(loss.detach()) / rows
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad(set_to_none=True)
        return total

    def _save(self) -> None:
        values = {name: latent.state_dict() for name, latent in self._latents.items()}
        whole = {"step": self.step, "of": self._of, "latents": values,
                 "optimizer": self._optimizer.state_dict()}  # fmt: skip
        target = self._state / STATE
        with exclusive(target), staged(target) as folder:
            made = folder / STATE
            torch.save(whole, made)
            publish(made, target)

    def _resume(self) -> None:
        file = self._state / STATE
        if not file.is_file():
            return
        whole: dict[str, Any] = torch.load(file, weights_only=True)
        if whole["of"] != self._of:
            raise CannotTrain(
                f"{file} is of a training with other texts, numbers or models: take another --state"
            )
        for name, latent in self._latents.items():
            latent.load_state_dict(whole["latents"][name])
        self._optimizer.load_state_dict(whole["optimizer"])
        self.step = whole["step"]


def _digest(model: Any) -> str:
    """Of all that a model computes with, the frequencies of its rotary embedding, too."""
    return _hash(dict([*model.named_parameters(), *model.named_buffers()]))


def _hash(tensors: Mapping[str, Tensor]) -> str:
    whole = TensorHash()
    for name, tensor in sorted(tensors.items()):
        whole.add(name, tensor.detach())
    return whole.hexdigest()


def _pace(step: int, training: Training) -> float:
    """The share of the learning rate that a step takes."""
    if step < training.warmup:
        return (step + 1) / training.warmup
    left = (step - training.warmup) / max(1, training.steps - training.warmup)
    return 0.1 + 0.45 * (1 + float(torch.cos(torch.tensor(left * torch.pi))))


def _ternary_layers(student: Any) -> dict[str, TernaryLinear]:
    layers = {n: m for n, m in student.named_modules() if isinstance(m, TernaryLinear)}
    if not layers:
        raise CannotTrain("no layer of the student is ternary")
    return layers


def _check_memory(student: Any) -> None:
    """Weights, their gradient and the optimizer's two means are float32 each; so is, of one matrix
    at a time, what it rounds to, in two parts, and the gradient that is added."""
    counts = [m.in_features * m.out_features for m in _ternary_layers(student).values()]
    count = sum(counts)
    needed, there = 16 * count + 12 * max(counts), available_memory()
    if needed > there:
        raise CannotTrain(
            f"training {count:,} weights takes {needed >> 20:,} MiB beside the models, and "
            f"{there >> 20:,} MiB are free"
        )


def _put_latents(teacher: Any, student: Any) -> dict[str, LatentLinear]:
    latents: dict[str, LatentLinear] = {}
    for name, layer in _ternary_layers(student).items():
        dense = teacher.get_submodule(name)
        shape = (layer.out_features, layer.in_features)
        if tuple(dense.weight.shape) != shape:
            raise CannotTrain(f"{name} is {tuple(dense.weight.shape)} in the dense model")
        latents[name] = LatentLinear(dense.weight, layer)
        student.set_submodule(name, latents[name])
    return latents
