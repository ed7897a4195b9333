"""Log-probabilities from hidden states, without ever holding all logits at once.

A vocabulary is a hundred times as wide as a hidden state: logits, their softmax and its gradient
are most of the memory of a small model's update. They are made for the answer tokens only, in
chunks, and made again in the backward pass.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK = 1 << 25
"""Most logits that are held at once: 128 MiB of them in float32."""


def token_logprobs(
    hidden_TD: Tensor, head: Any, target_T: Tensor, temperature_T: Tensor, *, chunk: int = CHUNK
) -> Tensor:
    """Log-probability of each target under softmax(head(hidden) / temperature) -> (T,), float32."""
    vocabulary: int = head.weight.shape[0]
    rows = max(1, chunk // vocabulary)
    if len(hidden_TD) <= rows:
        return _logprobs(hidden_TD, head, target_T, temperature_T)
    parts = zip(hidden_TD.split(rows), target_T.split(rows), temperature_T.split(rows), strict=True)
    if not torch.is_grad_enabled():
        return torch.cat([_logprobs(h, head, y, t) for h, y, t in parts])
    return torch.cat(
        [checkpoint(_logprobs, h, head, y, t, use_reentrant=False) for h, y, t in parts]
    )


@torch.no_grad()
def score_tokens(
    hidden_TD: Tensor,
    head: Any,
    target_T: Tensor,
    temperature_T: Tensor,
    *,
    chunk: int = CHUNK,
) -> tuple[Tensor, Tensor]:
    """Without gradient: each target's log-probability under softmax(head(hidden) / temperature)
    (T,), and the entropy of softmax(head(hidden)) (T,), in nats; float32.

    Where ``head`` is None the logits are made: they are in ``hidden_TD``'s place.
    """
    vocabulary: int = hidden_TD.shape[1] if head is None else head.weight.shape[0]
    rows = max(1, chunk // vocabulary)
    scores: list[Tensor] = []
    entropies: list[Tensor] = []
    for h, y, t in zip(
        hidden_TD.split(rows), target_T.split(rows), temperature_T.split(rows), strict=True
    ):
        logits_TV = (h if head is None else head(h)).float()
        scores.append(scaled_logprobs(logits_TV, y, t))
        entropies.append(_entropy(logits_TV))
    return torch.cat(scores), torch.cat(entropies)


def scaled_logprobs(logits_TV: Tensor, target_T: Tensor, temperature_T: Tensor) -> Tensor:
    """Log-probability of each target under softmax(logits / temperature) -> (T,)."""
    scaled_TV = logits_TV / temperature_T[:, None]
    chosen_T = scaled_TV.gather(1, target_T[:, None])[:, 0]
    return chosen_T - torch.logsumexp(scaled_TV, dim=-1)


def _logprobs(hidden_TD: Tensor, head: Any, target_T: Tensor, temperature_T: Tensor) -> Tensor:
    return scaled_logprobs(head(hidden_TD).float(), target_T, temperature_T)


def _entropy(logits_TV: Tensor) -> Tensor:
    log_TV = logits_TV.log_softmax(-1)
    return -(log_TV.exp() * log_TV).sum(-1)
