"""PASS, FAIL or INCONCLUSIVE, from evidence on rows that the update never saw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from liveweights.gate.findings import Finding
from liveweights.gate.monitors import Monitors
from liveweights.gate.offpolicy import OffPolicy
from liveweights.gate.settings import GateSettings
from liveweights.gate.statistics import Difference, at_confidence, cases_needed
from liveweights.learn.drift import Drift

Outcome = Literal["PASS", "FAIL", "INCONCLUSIVE"]
Cause = Literal[
    "reward",
    "likelihood",
    "accepted",
    "offpolicy",
    "drift",
    "habits",
    "suites",
    "cases",
    "sessions",
    "changes",
    "effect",
    "answers",
    "unmeasured",
    "untold",
]
"""What a candidate failed by, the first seven, or what is missing to tell."""
Point = tuple[Cause, str]
"""A cause, and a sentence with the numbers."""


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Candidate minus incumbent on held-back rows; None is what could not be had.

    ``reward``: reward of answers to the same prompts where the truth is known, each weighed by how
    many judged ones it stands for (``gate.weighting``); ``untold`` why there is none.
    ``likelihood``: mean log-likelihood per token of accepted and corrected text.
    ``accepted``: accepted answers per case where the truth is known, the incumbent's times
    `GateSettings.keep_accepted`.
    ``offpolicy``: reward of recorded answers, reweighted as `GateSettings.estimator` says.
    ``suites``: what the configured suites say; without them none was asked. Those of whole
    episodes have the aim "no_harm"; ``left_out`` says which of these could not be asked, and why.
    """

    reward: Difference | None = None
    untold: str | None = None
    likelihood: Difference | None = None
    accepted: Difference | None = None
    offpolicy: OffPolicy | None = None
    drift: Drift | None = None
    monitors: Monitors | None = None
    suites: tuple[Finding, ...] = ()
    left_out: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome, why, and the evidence that it can be decided from again. ``causes`` are those
    of the reasons, one each; of a PASS there are none."""

    outcome: Outcome
    reasons: tuple[str, ...]
    evidence: Evidence
    causes: tuple[Cause, ...] = ()


def decide(evidence: Evidence, settings: GateSettings) -> Verdict:
    """Judge a candidate.

    FAIL: there is evidence of harm (an interval wholly below what its margin allows, a suite on
    which it is worse), or a monitor or the drift is out of bounds. PASS: no harm, monitors and
    drift were measured and are in bounds, every suite that was asked is within its margin (those of
    whole episodes need only not be worse), and an improvement is shown: the lower end of its
    interval is above 0. Which improvement counts is fixed by `GateSettings.primary`, the number of
    cases and on how many the two differ, never by which of them is better there, so that equal
    candidates pass at most at the nominal rate; with too few cases for either it is that of whole
    episodes. Where it is not that of the reward, the reward must not have fallen by more than its
    margin.
    INCONCLUSIVE: neither; the reasons say what is missing.
    """
    harms = _harms(evidence, settings)
    if harms:
        return _tell("FAIL", harms, evidence)
    gains, missing = _gains(evidence, settings)
    missing += _unmeasured(evidence, settings)
    if gains and not missing:
        shown = [f.reason for f in evidence.suites if f.reason not in gains]
        reasons = (*gains, *shown, *evidence.left_out)
        return Verdict(outcome="PASS", reasons=reasons, evidence=evidence)
    return _tell("INCONCLUSIVE", missing, evidence)


def _tell(outcome: Outcome, points: Sequence[Point], evidence: Evidence) -> Verdict:
    return Verdict(
        outcome=outcome,
        reasons=tuple(reason for _, reason in points),
        evidence=evidence,
        causes=tuple(cause for cause, _ in points),
    )


def _harms(evidence: Evidence, settings: GateSettings) -> list[Point]:
    harms: list[Point] = []
    compared: tuple[tuple[Cause, str, Difference | None, float], ...] = (
        # Nobody accepts a loss in what the update was for; elsewhere a margin is allowed.
        ("reward", "held-back reward", evidence.reward, 0.0),
        (
            "likelihood",
            "likelihood of users' text",
            evidence.likelihood,
            settings.likelihood_margin,
        ),
    )
    for cause, name, difference, margin in compared:
        if _shortage(difference, settings) or difference is None or difference.high is None:
            continue
        if difference.high < -margin:
            harms.append((cause, f"{name} is worse: {_say(difference)}, allowed {-margin:g}"))
    accepted = evidence.accepted
    if accepted and accepted.high is not None and accepted.high < 0:
        left = accepted.candidate * settings.keep_accepted / accepted.incumbent
        reason = (
            f"users would have accepted {left:.0%} of what they accept of the incumbent; at least"
            f" {settings.keep_accepted:.0%} are to be left"
            f" ({accepted.cases} cases, {accepted.sessions} sessions)"
        )
        harms.append(("accepted", reason))
    off = evidence.offpolicy
    if off and off.high is not None and off.high < -settings.reward_margin:
        reason = (
            f"off-policy reward is worse: {off.value:+.4f} [{off.low:+.4f}, {off.high:+.4f}],"
            f" allowed {-settings.reward_margin:g}"
        )
        harms.append(("offpolicy", reason))
    if evidence.drift and evidence.drift.divergence > settings.max_drift:
        reason = (
            f"drift of {evidence.drift.divergence:.3f} nats per token from the incumbent;"
            f" at most {settings.max_drift:g}"
        )
        harms.append(("drift", reason))
    if evidence.monitors:
        harms += _points("habits", evidence.monitors.broken)
    worse = [finding.reason for finding in evidence.suites if finding.standing == "WORSE"]
    return harms + _points("suites", worse)


def _points(cause: Cause, reasons: Iterable[str]) -> list[Point]:
    return [(cause, reason) for reason in reasons]


def _gains(evidence: Evidence, settings: GateSettings) -> tuple[list[str], list[Point]]:
    """What is better, or else what is missing to say so."""
    shown: list[tuple[str, Difference, float | None]] = []
    short: list[Point] = []
    for name, difference, effect, untold in (
        ("held-back reward", evidence.reward, settings.smallest_effect, evidence.untold),
        ("likelihood of users' text", evidence.likelihood, None, None),
    ):
        shortage: Point | None = _shortage(difference, settings)
        if untold is not None:
            shortage = "untold", untold
        if shortage is not None or difference is None:
            cause, lacking = shortage or ("unmeasured", "not measured")
            short.append((cause, f"{name}: {lacking}"))
        else:
            shown.append((name, difference, effect))
    if not shown:
        better = [f.reason for f in _episodes(evidence) if f.standing == "BETTER"]
        if better:
            return better + [f"not judged: {reason}" for _, reason in short], []
        unclear = [f.reason for f in _episodes(evidence)]
        return [], short + _points("effect", [*unclear, *evidence.left_out])
    if settings.primary == "reward":
        shown = shown[:1]
    confidence = 1 - (1 - settings.confidence) / len(shown)
    shown = [(name, at_confidence(d, confidence), effect) for name, d, effect in shown]
    gains = [f"{name} is better: {_say(d)}" for name, d, _ in shown if d.low and d.low > 0]
    missing: list[Point] = [
        ("effect", f"{name} shows no improvement: {_say(d)}{_wish(d, effect, settings)}")
        for name, d, effect in shown
    ]
    reward = evidence.reward
    if gains and reward and reward.mean < -settings.reward_margin:
        return [], [("effect", f"likelihood rose but held-back reward fell: {_say(reward)}")]
    if gains:
        return gains + [f"not judged: {reason}" for _, reason in short], []
    return [], missing + short


def _episodes(evidence: Evidence) -> list[Finding]:
    return [finding for finding in evidence.suites if finding.aim == "no_harm"]


def _unmeasured(evidence: Evidence, settings: GateSettings) -> list[Point]:
    missing: list[Point] = []
    if evidence.drift is None:
        missing.append(("unmeasured", "drift was not measured"))
    if evidence.monitors is None:
        missing.append(("answers", "the monitors saw no answers"))
    elif evidence.monitors.candidate.answers < settings.min_answers:
        seen = evidence.monitors.candidate.answers
        reason = f"the monitors saw {seen} answers and need {settings.min_answers}"
        missing.append(("answers", reason))
    unclear = [
        finding.reason
        for finding in evidence.suites
        if finding.standing == "INCONCLUSIVE" and finding.aim != "no_harm"
    ]
    return missing + _points("suites", unclear)


def _shortage(difference: Difference | None, settings: GateSettings) -> Point | None:
    """Why an interval is not to be trusted, and what it would take."""
    if difference is None:
        return "unmeasured", "not measured"
    needs: tuple[tuple[Cause, int, int, str], ...] = (
        ("cases", difference.cases, settings.min_cases, "cases"),
        ("sessions", difference.sessions, settings.min_sessions, "sessions"),
        (
            "changes",
            difference.changed,
            settings.min_changed,
            "cases on which the two differ",
        ),
    )
    for cause, have, need, what in needs:
        if have < need:
            return cause, f"{have} {what}, at least {need} are needed"
    return None


def _wish(difference: Difference, effect: float | None, settings: GateSettings) -> str:
    needed = cases_needed(difference, effect, settings.power) if effect else None
    if needed is None or needed <= difference.cases:
        return ""
    return (
        f"; a gain of {effect:g} would be found with {settings.power:.0%} chance"
        f" from about {needed} cases"
    )


def _say(d: Difference) -> str:
    ends = "no interval" if d.low is None else f"[{d.low:+.4f}, {d.high:+.4f}]"
    return (
        f"{d.mean:+.4f} {ends} at {d.confidence:.4g}"
        f" ({d.cases} cases, {d.sessions} sessions, {d.incumbent:.4f} to {d.candidate:.4f})"
    )
