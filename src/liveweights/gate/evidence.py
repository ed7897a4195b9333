"""From held-back rows and answers to what the gate judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liveweights.gate.calibration import compare_accepted, is_right
from liveweights.gate.monitors import watch_kinds
from liveweights.gate.offpolicy import (
    OffPolicy,
    doubly_robust_difference,
    ips_difference,
    snips_difference,
)
from liveweights.gate.predictions import predict
from liveweights.gate.scoring import Case, Values, score_answers
from liveweights.gate.settings import GateSettings
from liveweights.gate.statistics import Difference, paired_difference
from liveweights.gate.verdict import Evidence
from liveweights.gate.weighting import OneSided, weigh_cases
from liveweights.learn.drift import measure_drift
from liveweights.learn.job import HeldBack
from liveweights.weights.selection import Selection

Answers = Mapping[str, str]
"""Generation id to the text that a checkpoint answers its prompt with."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """What was served, and what either checkpoint answers if it draws its tokens likewise."""

    served: Answers
    candidate: Answers
    incumbent: Answers


@dataclass(frozen=True, slots=True)
class Selections:
    """When either says nothing; None where it shows whatever it drafts."""

    candidate: Selection | None
    incumbent: Selection | None


ALL_SHOWN = Selections(None, None)


def gather(
    rows: Sequence[HeldBack],
    cases: Sequence[Case],
    candidate: Answers,
    incumbent: Answers,
    *,
    values: Values,
    settings: GateSettings,
    selections: Selections = ALL_SHOWN,
    drawn: Drawn | None = None,
    chats: Sequence[tuple[str, str]] = (),
) -> Evidence:
    """Evidence from ``rows`` that the update never saw, as the learner scored them, and from
    ``cases`` that both answered again; None where there is nothing to compare.

    The answers are what users would see of greedy drafts; ``drawn`` is what the doubly robust
    estimate needs besides. ``chats`` are what candidate and incumbent answer in chats.
    """
    asked = [c for c in cases if c.generation in candidate and c.generation in incumbent]
    known, weights, untold = _list_known(asked)
    worded = [row for row in rows if row.candidate_truth is not None]
    judged = [
        row
        for row in rows
        if row.reward is not None and len(row.behaviour) == len(row.candidate_answer)
    ]
    # Where nothing may be withheld nothing is: beside it, silence elsewhere would look rare.
    spoken, quiet = (
        [
            (candidate[case.generation], incumbent[case.generation])
            for case in asked
            if case.may_be_silent == silent
        ]
        for silent in (False, True)
    )
    return Evidence(
        reward=paired_difference(
            _earned(known, candidate, values),
            _earned(known, incumbent, values),
            [case.session for case in known],
            confidence=settings.confidence,
            weights_B=weights,
        )
        if known
        else None,
        untold=untold,
        likelihood=paired_difference(
            [row.candidate_truth or 0.0 for row in worded],
            [row.incumbent_truth or 0.0 for row in worded],
            [row.session for row in worded],
            confidence=settings.confidence,
        )
        if worded
        else None,
        accepted=_accepted(known, weights, candidate, incumbent, settings=settings)
        if known
        else None,
        offpolicy=_estimate(judged, settings, selections, drawn),
        drift=measure_drift(
            [row.candidate_answer for row in rows], [row.incumbent_answer for row in rows]
        )
        if rows
        else None,
        monitors=watch_kinds(
            {"completions": spoken, "completions with silence": quiet, "chats": chats}, settings
        ),
    )


def _list_known(asked: Sequence[Case]) -> tuple[list[Case], list[float], str | None]:
    """The cases whose truth is known with their weights, or why there are none."""
    try:
        weighed = zip(asked, weigh_cases(asked), strict=True)
    except OneSided as why:
        return [], [], str(why)
    known = [(case, weight) for case, weight in weighed if weight]
    return [case for case, _ in known], [weight for _, weight in known], None


def _accepted(
    cases: Sequence[Case],
    weights: Sequence[float],
    candidate: Answers,
    incumbent: Answers,
    *,
    settings: GateSettings,
) -> Difference:
    def accepted(answers: Answers) -> list[bool]:
        return [is_right(answers[case.generation], case) is True for case in cases]

    return compare_accepted(
        accepted(candidate),
        accepted(incumbent),
        [case.session for case in cases],
        share=settings.keep_accepted,
        confidence=settings.confidence,
        weights_B=weights,
    )


def _shown(row: HeldBack, selection: Selection | None, confidence: float) -> float:
    """Log-probability with which an answer that somebody saw would be shown."""
    if row.shown is None or selection is None:
        return 0.0
    return selection.logprob(confidence, row.temperature, shown=True)


def _estimate(
    rows: Sequence[HeldBack],
    settings: GateSettings,
    selections: Selections,
    drawn: Drawn | None,
) -> OffPolicy | None:
    if settings.estimator == "doubly_robust":
        drawn_answers = (drawn.served, drawn.candidate, drawn.incumbent) if drawn else ({},)
        rows = [row for row in rows if all(row.generation in answers for answers in drawn_answers)]
    if not rows:
        return None
    rewards = [row.reward or 0.0 for row in rows]
    served = [sum(row.behaviour) + (row.shown or 0.0) for row in rows]
    ours = [
        sum(row.candidate_answer) + _shown(row, selections.candidate, row.candidate_confidence) - s
        for row, s in zip(rows, served, strict=True)
    ]
    theirs = [
        sum(row.incumbent_answer) + _shown(row, selections.incumbent, row.incumbent_confidence) - s
        for row, s in zip(rows, served, strict=True)
    ]
    how: dict[str, Any] = {
        "clip": settings.ratio_clip,
        "sessions_B": [row.session for row in rows],
        "floor": settings.ess_floor,
        "confidence": settings.confidence,
    }
    if settings.estimator == "snips":
        return snips_difference(rewards, ours, theirs, **how)
    if settings.estimator == "ips":
        return ips_difference(rewards, ours, theirs, **how)
    assert drawn is not None
    predicted = predict(
        rewards,
        [drawn.served[row.generation] for row in rows],
        [drawn.candidate[row.generation] for row in rows],
        [drawn.incumbent[row.generation] for row in rows],
        sessions_B=[row.session for row in rows],
    )
    return doubly_robust_difference(rewards, ours, theirs, predicted, **how)


def _earned(cases: Sequence[Case], answers: Answers, values: Values) -> list[float]:
    return score_answers(
        [answers[case.generation] for case in cases], [case.truth or "" for case in cases], values
    )
