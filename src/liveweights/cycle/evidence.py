"""From held-back rows and replayed answers to what the gate judges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from liveweights.gate.drift import measure_drift
from liveweights.gate.monitors import watch
from liveweights.gate.offpolicy import snips_difference
from liveweights.gate.replay import Values, score_replay
from liveweights.gate.settings import GateSettings
from liveweights.gate.statistics import paired_difference
from liveweights.gate.verdict import Evidence
from liveweights.learn.evidence import HeldBack

Answers = Mapping[str, str]
"""Generation id to the text that a checkpoint answers its prompt with."""


def gather(
    rows: Sequence[HeldBack],
    candidate: Answers,
    incumbent: Answers,
    values: Values,
    settings: GateSettings,
) -> Evidence:
    """Evidence from rows that the update never saw; None where there is nothing to compare."""
    asked = [row for row in rows if row.generation in candidate and row.generation in incumbent]
    known = [row for row in asked if row.truth is not None]
    worded = [row for row in rows if row.candidate_truth is not None]
    judged = [
        row
        for row in rows
        if row.reward is not None and len(row.behaviour) == len(row.candidate_answer)
    ]
    ours = [candidate[row.generation] for row in asked]
    theirs = [incumbent[row.generation] for row in asked]
    return Evidence(
        replay=paired_difference(
            _replayed(known, candidate, values),
            _replayed(known, incumbent, values),
            [row.session for row in known],
            confidence=settings.confidence,
        )
        if known
        else None,
        likelihood=paired_difference(
            [row.candidate_truth or 0.0 for row in worded],
            [row.incumbent_truth or 0.0 for row in worded],
            [row.session for row in worded],
            confidence=settings.confidence,
        )
        if worded
        else None,
        offpolicy=snips_difference(
            [row.reward or 0.0 for row in judged],
            [sum(row.candidate_answer) - sum(row.behaviour) for row in judged],
            [sum(row.incumbent_answer) - sum(row.behaviour) for row in judged],
            clip=settings.ratio_clip,
            sessions_B=[row.session for row in judged],
            floor=settings.ess_floor,
            confidence=settings.confidence,
        )
        if judged
        else None,
        drift=measure_drift(
            [row.candidate_answer for row in rows], [row.incumbent_answer for row in rows]
        )
        if rows
        else None,
        monitors=watch(ours, theirs, settings) if asked else None,
    )


def _replayed(rows: Sequence[HeldBack], answers: Answers, values: Values) -> list[float]:
    return score_replay(
        [answers[row.generation] for row in rows], [row.truth or "" for row in rows], values
    )
