"""Self-distillation from what a user said about an answer."""

from __future__ import annotations

from torch import Tensor


def hindsight_advantage(hindsight_T: Tensor, incumbent_T: Tensor, *, limit: float = 2.0) -> Tensor:
    """Advantage of each answer token -> (T,), without gradient, cut to [-limit, limit] nats.

    log pi(y_t | x, o, y_<t) - log pi(y_t | x, y_<t): how much more, or less, the policy would
    have said the token had it known the user's reaction o (arXiv 2603.12273). With these as
    advantages, an on-policy policy gradient is that of the token-wise divergence
    KL(pi(. | x) || pi(. | x, o)) with the second held fixed: the policy that knows the reaction
    teaches the one that does not. Without a cut it is exact where ``incumbent_T`` is the policy
    itself.
    """
    return (hindsight_T - incumbent_T).detach().clamp(-limit, limit)
