"""Which policy-gradient loss is used, by its name in the settings."""

from __future__ import annotations

from torch import Tensor

from liveweights.learn.losses.cispo import cispo_loss
from liveweights.learn.losses.gspo import gspo_loss
from liveweights.learn.losses.reweighting import reweight
from liveweights.learn.losses.topr import topr_loss
from liveweights.learn.settings import PolicyLoss


def policy_loss(
    name: PolicyLoss,
    logprobs_T: Tensor,
    behaviour_T: Tensor,
    advantage_B: Tensor,
    row_T: Tensor,
    *,
    ratio_max: float,
    sequence_clip: float,
    reject_alpha: float,
) -> Tensor:
    """-> (T,). ``ratio_max`` bounds the token ratio of ``topr`` and ``cispo``, whose rejected
    tokens are reweighted with ``reject_alpha``; ``sequence_clip`` the answer's ratio of ``gspo``,
    which knows no tokens."""
    if name == "gspo":
        return gspo_loss(logprobs_T, behaviour_T, advantage_B, row_T, clip=sequence_clip)
    advantage_T = reweight(advantage_B[row_T], logprobs_T, alpha=reject_alpha)
    token_loss = topr_loss if name == "topr" else cispo_loss
    return token_loss(logprobs_T, behaviour_T, advantage_T, ratio_max=ratio_max)
