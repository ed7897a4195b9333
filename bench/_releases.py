"""Simulated candidates, judged by the real gate and watched by the real canary."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import msgspec
import numpy as np

from liveweights.gate.evalues import beta_binomial
from liveweights.gate.evidence import gather
from liveweights.gate.findings import Measured, judge
from liveweights.gate.scoring import Case, Values
from liveweights.gate.settings import GateSettings
from liveweights.gate.verdict import Verdict, decide
from liveweights.learn.job import HeldBack
from liveweights.release.canary import Reward, compare_arms
from liveweights.release.decision import decide_by_rewards
from liveweights.release.settings import CanarySettings

ACCEPTS = 0.30
"""Share of answers that users of the incumbent take."""
SILENT = 0.05
"""Share of the others at which the incumbent says nothing."""
SOLVED = 0.40
"""Share of the code suite that the incumbent solves."""
SHARE = 0.1
"""Share of the sessions that the canary answers."""
SUITE_CASES, SUITE_MARGIN = 164, 0.05
SESSION = 5
VALUES = Values()
GATE = GateSettings(suites=("code",))


@dataclass(frozen=True, slots=True)
class Kind:
    """How a candidate differs: of all prompts it ``wins`` some that the incumbent lost, and loses
    others. ``live`` is its share of taken answers with users, None: as on held-back rows."""

    name: str
    wins: float = 0.0
    losses: float = 0.0
    silent: float = SILENT
    breaks: float = 0.02
    """Share of the solved code cases that it fails; as large a share of all is newly solved."""
    repeats: bool = False
    drift: float = 0.02
    live: float | None = None

    @property
    def accepts(self) -> float:
        return ACCEPTS + self.wins - self.losses


EQUAL = Kind("equal", wins=0.06, losses=0.06)
BETTER = Kind("better: 10% more accepts", wins=0.09, losses=0.06)
MUCH_BETTER = Kind("better: a third more accepts", wins=0.15, losses=0.05)
MUCH_WORSE = Kind("worse: a third fewer accepts", wins=0.10, losses=0.20)
WORSE = (
    Kind("wrong sign of the update", wins=0.02, losses=0.14, drift=0.2),
    Kind("collapsed", losses=0.29, repeats=True, drift=3.0, breaks=1.0),
    Kind("better on reward, breaks code", wins=0.14, losses=0.02, breaks=0.6),
    Kind("learned to stay silent", wins=0.02, losses=0.08, silent=0.95),
)
LIVE_ONLY = Kind("good on held-back rows, bad with users", wins=0.14, losses=0.02, live=0.15)


def release(
    rng: np.random.Generator,
    kind: Kind,
    cases: int,
    settings: GateSettings = GATE,
    *,
    told: float = 1.0,
) -> Verdict:
    """One candidate through the gate. Of so large a share of the refused answers users write what
    they wanted."""
    draws = rng.random(cases)
    theirs = draws < ACCEPTS
    ours = np.where(theirs, draws >= kind.losses, draws >= 1 - kind.wins)
    if kind.silent > 0.5:
        ours &= rng.random(cases) >= kind.silent
    mute = rng.random(cases)
    quiet, was_quiet = ~ours & (mute < kind.silent), ~theirs & (mute < SILENT)
    truth = [f"value_{i} = load({i})" for i in range(cases)]
    wrong = "x x x x x x x x x x x x" if kind.repeats else "return None or other"
    candidate = [
        t if hit else "" if silent else wrong
        for t, hit, silent in zip(truth, ours, quiet, strict=True)
    ]
    incumbent = [
        t if hit else "" if silent else "return None and other"
        for t, hit, silent in zip(truth, theirs, was_quiet, strict=True)
    ]
    known = theirs | (rng.random(cases) < told) if told < 1 else np.ones(cases, bool)
    move = math.sqrt(2 * kind.drift)
    rows = [
        HeldBack(
            generation=str(i),
            session=str(i // SESSION),
            reward=VALUES.accepted if theirs[i] else VALUES.rejected,
            candidate_answer=(-1 + move * rng.standard_normal(8)).tolist(),
            incumbent_answer=[-1.0] * 8,
            behaviour=[-1.0] * 8,
            candidate_truth=-1 + 0.2 * rng.standard_normal() + 0.5 * (kind.wins - kind.losses),
            incumbent_truth=-1.0,
        )
        for i in range(cases)
    ]
    evidence = gather(
        rows,
        [
            Case(row.generation, row.session, t if tells else None, taken=bool(took))
            for row, t, tells, took in zip(rows, truth, known, theirs, strict=True)
        ],
        {str(i): text for i, text in enumerate(candidate)},
        {str(i): text for i, text in enumerate(incumbent)},
        values=VALUES,
        settings=settings,
    )
    verdict = decide(evidence, settings)
    if verdict.outcome != "PASS" or not settings.suites:
        return verdict
    findings = judge([suite(rng, kind)], settings.confidence, settings.power)
    return decide(msgspec.structs.replace(evidence, suites=findings), settings)


def suite(rng: np.random.Generator, kind: Kind) -> Measured:
    """The code suite, as candidate and incumbent solve it."""
    theirs = rng.random(SUITE_CASES) < SOLVED
    gained = 0.0 if kind.breaks > 0.1 else kind.breaks * SOLVED / (1 - SOLVED)
    ours = np.where(
        theirs, rng.random(SUITE_CASES) >= kind.breaks, rng.random(SUITE_CASES) < gained
    )
    return Measured(
        suite="code",
        version="simulated",
        margin=SUITE_MARGIN,
        candidate=ours.astype(float).tolist(),
        incumbent=theirs.astype(float).tolist(),
        planned=SUITE_CASES,
    )


def canary(
    rng: np.random.Generator, kind: Kind, settings: CanarySettings, most: int = 20_000
) -> tuple[str, int]:
    """What the canary comes to, and how many sessions saw the candidate until then.

    One answer per session, one session per second; looked at after every 25.
    """
    accepts = kind.accepts if kind.live is None else kind.live
    rewards: list[Reward] = []
    exposed = 0
    for second in range(most):
        to_canary = rng.random() < SHARE
        exposed += to_canary
        hit = rng.random() < (accepts if to_canary else ACCEPTS)
        value = VALUES.accepted if hit else VALUES.rejected
        arm = "canary" if to_canary else "live"
        rewards.append(Reward(arm, f"s{second}", value, float(second)))
        if second % 25 == 24:
            comparison = compare_arms(rewards, float(second), settings)
            action = decide_by_rewards(comparison, settings).action
            if action != "CONTINUE":
                return action, exposed
    return "CONTINUE", exposed


def cases_in_theory(kind: Kind, settings: GateSettings = GATE) -> int:
    """Paired cases that find the kind's gain with the stated power (arXiv 2411.00640, section 5).

    A changed case moves the reward by its whole width.
    """
    width = VALUES.accepted - VALUES.rejected
    gain = (kind.wins - kind.losses) * width
    variance = (kind.wins + kind.losses) * width**2 - gain**2
    normal = NormalDist()
    z = normal.inv_cdf(0.5 + settings.confidence / 2) + normal.inv_cdf(settings.power)
    return math.ceil(z**2 * variance / gain**2)


def looks_in_theory(kind: Kind, alpha: float) -> float:
    """Cases until an e-value that knew the kind's chances reached 1 / alpha, on average.

    ln(1 / alpha) over its growth per case, the share that changes times the divergence of a
    change's chance to be a gain from one half (Wald 1945; Grunwald et al. 2024, "Safe testing").
    """
    changed = kind.wins + kind.losses
    up = kind.wins / changed
    divergence = up * math.log(2 * up) + (1 - up) * math.log(2 * (1 - up))
    return -math.log(alpha) / (changed * divergence)


def looks(rng: np.random.Generator, kind: Kind, alpha: float, most: int) -> int | None:
    """Cases until the beta-binomial e-value for a gain reaches 1 / alpha; None: never."""
    rises = falls = 0
    changes: Sequence[float] = rng.random(most).tolist()
    for case, draw in enumerate(changes, 1):
        if draw < kind.wins:
            rises += 1
        elif draw < kind.wins + kind.losses:
            falls += 1
        else:
            continue
        if beta_binomial(rises, falls) >= -math.log(alpha):
            return case
    return None
