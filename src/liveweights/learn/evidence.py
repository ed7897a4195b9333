"""What an update did to rows that it never saw."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import torch
from torch import Tensor

from liveweights.learn.policy import Policy
from liveweights.learn.tree import Path, pack
from liveweights.learn.update import Moved

EXAMPLES = 12


class HeldBack(msgspec.Struct, frozen=True, kw_only=True):
    """A row that the update never saw, under candidate and incumbent.

    ``session`` is a hash of what varies together. Log-probabilities are natural; ``*_answer``
    of the served tokens, ``*_truth`` the mean over those of the text that the user took or
    wrote (None where nobody knows), ``shown`` of showing the served answer: as it was recorded,
    of candidate and of incumbent.
    """

    generation: str
    session: str
    reward: float | None
    candidate_answer: list[float]
    incumbent_answer: list[float]
    behaviour: list[float]
    candidate_truth: float | None = None
    incumbent_truth: float | None = None
    shown: float = 0.0
    candidate_shown: float = 0.0
    incumbent_shown: float = 0.0


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
def score_with_entropy(
    policy: Policy, paths: Sequence[Path], temperatures: Sequence[float], nodes: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Per path its answer's log-probabilities (T,) at its temperature, and the entropy of the
    next token (T,) at temperature 1, in nats."""
    scores: list[Tensor] = [torch.empty(0)] * len(paths)
    entropies: list[Tensor] = [torch.empty(0)] * len(paths)
    for indices in pack(paths, nodes):
        logits_TV, target_T, row_T = policy.logits([paths[i] for i in indices])
        heat_T = torch.tensor([temperatures[i] for i in indices])[row_T]
        warm_TV = (logits_TV / heat_T[:, None]).log_softmax(-1)
        plain_TV = logits_TV.log_softmax(-1)
        score_T = warm_TV.gather(1, target_T[:, None])[:, 0]
        entropy_T = -(plain_TV.exp() * plain_TV).sum(-1)
        lengths = [len(paths[i].answer_ids) for i in indices]
        parts = zip(indices, score_T.split(lengths), entropy_T.split(lengths), strict=True)
        for index, score, entropy in parts:
            scores[index], entropies[index] = score, entropy
    return scores, entropies
