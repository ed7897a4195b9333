from __future__ import annotations

import pytest
import torch
from torch import Tensor

from liveweights.learn.losses.policy import policy_loss
from liveweights.learn.settings import PolicyLoss

LOGPROBS_T = torch.tensor([-0.1, -4.0, -0.2, -3.0])
ROW_T = torch.tensor([0, 0, 1, 1])


def loss(name: PolicyLoss, alpha: float) -> Tensor:
    return policy_loss(
        LOGPROBS_T,
        LOGPROBS_T,
        torch.tensor([1.0, -1.0]),
        ROW_T,
        name=name,
        ratio_max=2.0,
        sequence_clip=0.2,
        reject_alpha=alpha,
    )


@pytest.mark.parametrize("name", ["topr", "cispo"])
def test_rejected_tokens_are_reweighted_and_accepted_ones_are_not(name: PolicyLoss) -> None:
    share_T = torch.tensor([1.0, 1.0, *LOGPROBS_T[2:].exp()])
    assert torch.allclose(loss(name, 1.0), share_T * loss(name, 0.0))


def test_an_answers_own_ratio_has_no_tokens_to_reweight() -> None:
    assert torch.equal(loss("gspo", 1.0), loss("gspo", 0.0))
