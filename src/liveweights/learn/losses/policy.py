"""Which policy-gradient loss is used, by its name in the settings."""

from __future__ import annotations

from torch import Tensor

from liveweights.learn.losses.cispo import cispo_loss
from liveweights.learn.losses.gspo import gspo_loss
from liveweights.learn.losses.reweighting import reweight
from liveweights.learn.losses.topr import topr_loss
from liveweights.learn.settings import PolicyLoss


def policy_loss(
    logprobs_T: Tensor,
    behaviour_T: Tensor,
    advantage_B: Tensor,
    row_T: Tensor,
    *,
    name: PolicyLoss,
    ratio_max: float,
    sequence_clip: float,
    reject_alpha: float,
) -> Tensor:
    """The loss of this ``name`` -> (T,).

    ``ratio_max`` bounds the token ratio of ``topr`` and ``cispo``, whose rejected tokens are
    reweighted with ``reject_alpha``; ``sequence_clip`` the answer's ratio of ``gspo``, which knows
    no tokens.
    """
    advantage_T = reweight(advantage_B[row_T], logprobs_T, alpha=reject_alpha)
    match name:
        case "topr":
            return topr_loss(logprobs_T, behaviour_T, advantage_T, ratio_max=ratio_max)
        case "cispo":
            return cispo_loss(logprobs_T, behaviour_T, advantage_T, ratio_max=ratio_max)
        case "gspo":
            return gspo_loss(logprobs_T, behaviour_T, advantage_B, row_T, clip=sequence_clip)
