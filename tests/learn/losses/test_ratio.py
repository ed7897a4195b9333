from __future__ import annotations

import math

import torch

from liveweights.learn.losses.demonstration import demonstration_loss
from liveweights.learn.losses.ratio import geometric_ratio, length_by_row


def test_ratio_is_the_geometric_mean_of_a_row() -> None:
    ratio = geometric_ratio(
        torch.tensor([math.log(2), math.log(8), 0.0]),
        torch.zeros(3),
        torch.tensor([0, 0, 1]),
        rows=2,
    )
    assert torch.allclose(ratio, torch.tensor([4.0, 1.0]))


def test_a_row_without_tokens_has_length_one() -> None:
    assert length_by_row(torch.zeros(2), torch.tensor([0, 0]), 2).tolist() == [2.0, 1.0]


def test_a_demonstration_is_weighted_likelihood() -> None:
    value = torch.tensor([-1.0, -2.0], requires_grad=True)
    demonstration_loss(value, torch.tensor([0.3, 0.0])).sum().backward()
    assert value.grad is not None
    assert torch.allclose(value.grad, torch.tensor([-0.3, 0.0]))
