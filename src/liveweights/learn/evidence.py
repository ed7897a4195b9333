"""What an update did to rows that it never saw."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import torch

from liveweights.learn.policy import Policy
from liveweights.learn.tree import Path, pack
from liveweights.learn.update import Moved

EXAMPLES = 12


class HeldBack(msgspec.Struct, frozen=True, kw_only=True):
    """A row that the update never saw, under candidate and incumbent.

    ``truth`` is the text that the user took or wrote, None where nobody knows. Log-probabilities
    are natural; ``*_answer`` of the served tokens, ``*_truth`` the mean over the truth's.
    """

    generation: str
    session: str
    reward: float | None
    truth: str | None
    candidate_answer: list[float]
    incumbent_answer: list[float]
    behaviour: list[float]
    candidate_truth: float | None = None
    incumbent_truth: float | None = None


def most_moved(rows: Sequence[HeldBack], count: int = EXAMPLES) -> list[Moved]:
    """The served answers and the users' own texts whose mean log-probability changed most."""
    found: list[Moved] = []
    for row in rows:
        if row.candidate_answer:
            before, after = _mean(row.incumbent_answer), _mean(row.candidate_answer)
            found.append(
                Moved(generation=row.generation, text="answer", before=before, after=after)
            )
        if row.incumbent_truth is not None and row.candidate_truth is not None:
            before, after = row.incumbent_truth, row.candidate_truth
            found.append(Moved(generation=row.generation, text="truth", before=before, after=after))
    return sorted(found, key=lambda m: abs(m.after - m.before), reverse=True)[:count]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@torch.no_grad()
def mean_entropy(policy: Policy, paths: Sequence[Path], nodes: int) -> float | None:
    """Mean entropy of the next token over the answers' tokens, in nats; None without any."""
    total, count = 0.0, 0
    for indices in pack(paths, nodes):
        logits_TV, _, _ = policy.logits([paths[i] for i in indices])
        logprobs_TV = logits_TV.log_softmax(-1)
        total += float(-(logprobs_TV.exp() * logprobs_TV).sum())
        count += len(logprobs_TV)
    return total / count if count else None
