"""How much each token of a rejected answer is to blame."""

from __future__ import annotations

import torch
from torch import Tensor


def reweight(advantage_T: Tensor, logprobs_T: Tensor, *, alpha: float) -> Tensor:
    """A_t (alpha pi_t + 1 - alpha) where A_t < 0, else A_t -> (T,), without gradient.

    Advantage reweighting (arXiv 2505.12929), of rejected tokens only. The gradient of log pi_t is
    the larger the less likely the token is, and pushing it down spreads its share over the whole
    vocabulary: a few unlikely tokens, which the policy would hardly have said again, then undo
    more of the language than the likely ones correct. What is accepted keeps its full weight,
    the unlikely tokens of it above all (as arXiv 2512.21625 finds for both signs). Biased by
    design: at ``alpha`` 0 the gradient is that of the loss it is used in.
    """
    likely_T = alpha * logprobs_T.detach().exp() + (1.0 - alpha)
    return torch.where(advantage_T < 0, advantage_T * likely_T, advantage_T)
