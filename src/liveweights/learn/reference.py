"""What the rows' answers were worth to the incumbent: where an update starts from.

What the incumbent itself served has its log-probabilities on record, and a pass over it would find
the same once more, up to the server's rounding. How far server and trainer are apart is measured on
a part of these rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from liveweights.learn.losses.ratio import answer_ratio
from liveweights.learn.policy import Policy
from liveweights.learn.rows import Row
from liveweights.learn.settings import LearnSettings
from liveweights.learn.tree import TokenRow, pack

PART = 8
"""Of so many packs of rows that the incumbent served, one is compared."""


@dataclass(frozen=True, slots=True)
class Reference:
    """Log-probabilities of answer tokens (T,) under the weights that an update starts from.

    ``scored`` are those that the trainer computed, by row; ``logprobs`` these and, of rows that it
    did not compute, what the server recorded. A row in neither teaches without them. ``mismatch``
    is the mean absolute difference in nats between the server's and the trainer's, over what was
    scored of the incumbent's answers; None where nothing was. ``ratio`` is the mean geometric ratio
    of the trainer's to the recorded probabilities, over all served answers that were scored; None
    where it is beyond all numbers.
    """

    scored: dict[int, Tensor]
    logprobs: dict[int, Tensor]
    mismatch: float | None
    ratio: float | None


def find_reference(
    policy: Policy, rows: Sequence[Row], paths: Sequence[TokenRow], settings: LearnSettings
) -> Reference:
    """Compute what is needed and not on record.

    All rows are computed where tokens are to be routed as the incumbent routes them, and where
    server and trainer differ by more than ``settings.max_mismatch``.
    """
    needed = [i for i, row in enumerate(rows) if row.role != "correction" and not _is_known(row)]
    known = [i for i, row in enumerate(rows) if _is_known(row)]
    if policy.keeps_routing:
        scored = _score(policy, range(len(rows)), rows, paths, settings=settings)
    else:
        scored = _score(
            policy, sorted(needed + _part(known, paths, settings)), rows, paths, settings=settings
        )
    mismatch = _mismatch(rows, scored)
    if mismatch is not None and mismatch > settings.max_mismatch:
        left = [i for i in known if i not in scored]
        scored |= _score(policy, left, rows, paths, settings=settings)
        mismatch = _mismatch(rows, scored)
    recorded = {i: torch.tensor(rows[i].behaviour) for i in known}
    return Reference(scored, recorded | scored, mismatch, _ratio(rows, scored))


def _is_known(row: Row) -> bool:
    return row.role == "policy" and row.fresh and len(row.behaviour) == len(row.answer_ids)


def _part(known: Sequence[int], paths: Sequence[TokenRow], settings: LearnSettings) -> list[int]:
    """Of the known rows those that are compared: whole packs, whose rows share their prompts."""
    packs = pack([paths[i] for i in known], settings.nodes)
    return [known[place] for pack in packs[::PART] for place in pack]


def _score(
    policy: Policy,
    chosen: Sequence[int],
    rows: Sequence[Row],
    paths: Sequence[TokenRow],
    *,
    settings: LearnSettings,
) -> dict[int, Tensor]:
    scores = policy.score(
        [paths[i] for i in chosen],
        [rows[i].temperature for i in chosen],
        settings.nodes,
        keep_routes=True,
    )
    return dict(zip(chosen, scores, strict=True))


def _ratio(rows: Sequence[Row], scored: dict[int, Tensor]) -> float | None:
    ratios = [
        answer_ratio(score, torch.tensor(rows[i].behaviour))
        for i, score in scored.items()
        if rows[i].role == "policy"
    ]
    ratio = sum(ratios) / len(ratios) if ratios else 1.0
    return ratio if math.isfinite(ratio) else None


def _mismatch(rows: Sequence[Row], scored: dict[int, Tensor]) -> float | None:
    apart = [
        (score - torch.tensor(rows[i].behaviour)).abs()
        for i, score in scored.items()
        if rows[i].role == "policy" and rows[i].fresh
    ]
    return float(torch.cat(apart).mean()) if apart else None
