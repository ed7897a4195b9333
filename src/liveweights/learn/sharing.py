"""One update shared among processes: weights sharded (FSDP2, arXiv 2304.11277), rows divided.

The steps are those of one process, whatever their number: each takes a share of a step's rows,
and normalises by the whole step. Decoder layers are sharded; embeddings and head, which tie
weights in many models, are whole in each process. Without a process group there is one process,
and everything here does nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch import distributed as dist

T = TypeVar("T")


def rank() -> int:
    return dist.get_rank() if dist.is_initialized() else 0


def processes() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def shard(body: Any, device: torch.device) -> None:
    """Shard the decoder layers of a model's body over all processes, in place."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from transformers.modeling_layers import GradientCheckpointingLayer

    mesh = init_device_mesh(device.type, (processes(),))
    for module in body.modules():
        if isinstance(module, GradientCheckpointingLayer):
            fully_shard(module, mesh=mesh, reshard_after_forward=True)


def share(items: Sequence[T]) -> list[T]:
    """This process's part of ``items``, neighbours together; perhaps empty."""
    size, extra = divmod(len(items), processes())
    start = rank() * size + min(rank(), extra)
    return list(items[start : start + size + (rank() < extra)])


def gather(part: Sequence[T]) -> list[T]:
    """Every process's part, in order of processes."""
    if processes() == 1:
        return list(part)
    parts: list[list[T]] = [[] for _ in range(processes())]
    dist.all_gather_object(parts, list(part))
    return [item for items in parts for item in items]


def total(value: float) -> float:
    """The sum over all processes."""
    if processes() == 1:
        return value
    sum_ = torch.tensor(value, dtype=torch.float64)
    dist.all_reduce(sum_)
    return float(sum_)


def whole(tensor: Any) -> Tensor:
    """All of a tensor that may be sharded; every process has to ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def settle_gradients(parameters: Iterable[Any], most: float) -> float:
    """Make the gradients of weights that are not sharded the mean over processes, as FSDP has
    made the others; clip all to the norm ``most``. Returns the norm before."""
    parameters = list(parameters)
    if processes() == 1:
        return float(torch.nn.utils.clip_grad_norm_(parameters, most))
    sharded = square = 0.0
    gradients = [p.grad for p in parameters if p.grad is not None]
    for gradient in gradients:
        if hasattr(gradient, "to_local"):
            sharded += float(gradient.to_local().double().square().sum())
        else:
            dist.all_reduce(gradient)
            gradient /= processes()
            square += float(gradient.double().square().sum())
    norm = (square + total(sharded)) ** 0.5
    for gradient in gradients:
        gradient.mul_(min(1.0, most / (norm + 1e-6)))
    return norm
