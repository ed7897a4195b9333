"""What suites say about a candidate, against margins that were fixed before."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import msgspec

from liveweights.gate.evalues import beta_binomial
from liveweights.gate.holm import holm
from liveweights.gate.mcnemar import mid_p
from liveweights.gate.statistics import Difference, adjusted_difference, cases_needed, tails

Aim = Literal["not_worse", "better", "no_harm"]
Standing = Literal["BETTER", "NOT_WORSE", "WORSE", "INCONCLUSIVE"]


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Scores in [0, 1] of both on the same cases, in the order in which they were answered.

    ``groups`` names what each case depends on; None: every case is independent of the others.
    ``margin`` is the loss of mean score that is no harm, and with the aim "better" also the gain
    that is worth finding; with "no_harm" it is enough not to be worse. ``planned`` is how many
    cases would have been asked, had harm not been plain before (``stopped``), or the time been up.
    ``answers`` are of the candidate and of the incumbent, the first sample of each case.
    """

    suite: str
    version: str
    margin: float
    aim: Aim = "not_worse"
    candidate: list[float]
    incumbent: list[float]
    groups: list[str] | None = None
    planned: int
    stopped: bool = False
    seconds: float = 0.0
    answers: list[tuple[str, str]] = []


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """Where the candidate stands on one suite, why, and the numbers.

    ``worse`` and ``better`` are one-sided p-values after Holm's correction over all suites,
    ``mcnemar`` the mid-p value of right-or-wrong cases. ``needed`` is how many cases would settle
    it, where more are needed; ``stopped`` says that harm was plain before all cases were asked.
    """

    suite: str
    version: str
    standing: Standing
    reason: str
    margin: float
    aim: Aim
    difference: Difference
    worse: float
    better: float
    mcnemar: float | None = None
    needed: int | None = None
    stopped: bool = False
    seconds: float = 0.0


def is_harmed(measured: Measured, alpha: float) -> bool:
    """Whether harm is plain already: may be asked after every case, and errs with ``alpha``.

    The e-value against "a changed case is as likely a gain as a loss" has reached 1 / alpha, and
    the loss so far is beyond the margin. Never for cases that depend on one another.
    """
    if measured.groups is not None:
        return False
    rises, falls = _changes(measured)
    if beta_binomial(falls, rises) < -math.log(alpha):
        return False
    count = len(measured.candidate)
    return (sum(measured.candidate) - sum(measured.incumbent)) / count < -measured.margin


def judge(suites: Sequence[Measured], confidence: float, power: float) -> tuple[Finding, ...]:
    """One finding per suite.

    NOT_WORSE: the interval lies above minus the margin. That every suite must reach it is an
    intersection-union test, which needs no correction (Berger 1982). WORSE: below 0 and not shown
    to be within the margin. BETTER: above 0. The last two are claims of which one false one would
    do harm, so they are corrected over all suites (Holm), at (1 - confidence) / 2 on each side;
    half of it is spent at the end, half on stopping early (`is_harmed`). INCONCLUSIVE: neither;
    the reason says how many cases would be enough.
    """
    alpha = (1 - confidence) / 2
    differences = [
        adjusted_difference(s.candidate, s.incumbent, s.groups, confidence) for s in suites
    ]
    pairs = [tails(difference) for difference in differences]
    worse = holm([below for below, _ in pairs])
    better = holm([above for _, above in pairs])
    return tuple(
        _judge(suite, difference, worse=w, better=b, alpha=alpha, power=power)
        for suite, difference, w, b in zip(suites, differences, worse, better, strict=True)
    )


def _judge(
    suite: Measured,
    difference: Difference,
    *,
    worse: float,
    better: float,
    alpha: float,
    power: float,
) -> Finding:
    binary = suite.groups is None and {*suite.candidate, *suite.incumbent} <= {0.0, 1.0}
    rises, falls = _changes(suite)
    low = difference.low
    not_worse = low is not None and low > -suite.margin
    needed: int | None = None
    standing: Standing
    if suite.stopped or (worse <= alpha / 2 and not not_worse):
        standing = "WORSE"
    elif better <= alpha and low is not None:
        standing = "BETTER"
    elif not_worse and suite.aim != "better":
        standing = "NOT_WORSE"
    else:
        standing = "INCONCLUSIVE"
        needed = cases_needed(difference, suite.margin, power)
    return Finding(
        suite=suite.suite,
        version=suite.version,
        standing=standing,
        reason=_say(suite, difference, standing, needed),
        margin=suite.margin,
        aim=suite.aim,
        difference=difference,
        worse=worse,
        better=better,
        mcnemar=mid_p(rises, falls) if binary else None,
        needed=needed,
        stopped=suite.stopped,
        seconds=suite.seconds,
    )


def _changes(measured: Measured) -> tuple[int, int]:
    pairs = list(zip(measured.candidate, measured.incumbent, strict=True))
    return sum(ours > theirs for ours, theirs in pairs), sum(a < b for a, b in pairs)


def _say(suite: Measured, d: Difference, standing: Standing, needed: int | None) -> str:
    words = {
        "BETTER": "is better",
        "NOT_WORSE": f"is not worse by more than {suite.margin:g}",
        "WORSE": "is worse",
        "INCONCLUSIVE": "is not shown to be better"
        if suite.aim == "better"
        else f"may be worse by more than {suite.margin:g}",
    }[standing]
    ends = "no interval" if d.low is None else f"[{d.low:+.4f}, {d.high:+.4f}]"
    summary = (
        f"{suite.suite} {words}: {d.mean:+.4f} {ends} at {d.confidence:.4g} ({d.cases} cases,"
        f" {d.incumbent:.4f} to {d.candidate:.4f})"
    )
    if suite.stopped:
        return f"{summary}; stopped after {len(suite.candidate)} of {suite.planned} cases"
    if d.cases < suite.planned:
        summary += f"; {d.cases} of {suite.planned} cases in the time given"
    if standing != "INCONCLUSIVE":
        return summary
    if needed is None:
        return f"{summary}; the cases come from one group, so there is no spread to see"
    if needed > d.cases:
        return f"{summary}; it would take about {needed} cases"
    return f"{summary}; enough cases, and no clear result"
