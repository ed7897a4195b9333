"""How much of everything a demo does on a machine of this speed, and how long that takes. Pure.

More rows and more held-back cases tell a better candidate apart more surely, and take longer. A
fast machine does more of both in the same time; a slow one does the least that still decides and
takes longer.
"""

from __future__ import annotations

from dataclasses import dataclass

from liveweights.replay.speed import Speed

HELD_BACK = 0.6
"""Share of the developers' sessions that judge a candidate: a cycle of so few rows needs more of
them to be judged than to be learnt from."""

_PARAMETERS = 135e6
_TOKENS = 77.0
"""Of one example in an update, prompts shared: its answer, its correction and their part of the
prompt."""
_PASSES = 6.0
"""Operations per parameter and token of a forward and a backward pass, and the incumbent's."""
_SCORING = 3.6
"""The same where a held-back example is only scored, before and after."""
_START_FLOPS = 9e11
"""What a learner's start costs beside its rows, as operations of one thread: imports, loading."""
_SCORED = 16
_LEARN_SECONDS = 20.0
_CANARY_SECONDS = 12.0
_MEASURE_SECONDS = 25.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What a demo does, in rows and requests, and what it takes, in seconds."""

    threads: int
    """Of the engine and of the update."""
    train: int
    """Most examples that a cycle learns from."""
    cases: int
    """Most held-back prompts that candidate and incumbent both answer."""
    scored: int
    """Held-back examples that the learner scores."""
    requests: int
    """Suggestions with a reaction after which a cycle begins."""
    learn_seconds: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Seconds from now until the first release with its proof, and until the end."""

    first: float
    end: float


def make_plan(speed: Speed) -> Plan:
    """Sizes that keep an update near 20 s where nothing else runs, within what evidence needs."""
    start = _START_FLOPS / speed.single
    scoring = _SCORED * _SCORING * _PARAMETERS * _TOKENS / speed.flops
    each = _PASSES * _PARAMETERS * _TOKENS / speed.flops
    train = int(min(120, max(36, (_LEARN_SECONDS - start - scoring) / each)))
    return Plan(
        threads=speed.threads,
        train=train,
        cases=min(150, train * 3 // 2),
        scored=_SCORED,
        requests=int(train / (1 - HELD_BACK)),
        learn_seconds=start + scoring + train * each,
    )


def cycle_seconds(plan: Plan, rate: float) -> float:
    """One turn of the circle, once there is enough to learn from, where the machine answers
    ``rate`` suggestions per second."""
    return plan.learn_seconds + plan.cases / rate + _CANARY_SECONDS


def forecast(plan: Plan, rate: float, positions: int, cycles: int) -> Forecast:
    """What to expect after the base was measured at ``positions``: ``cycles`` turns, each measured
    in the end."""
    turn = cycle_seconds(plan, rate) + positions / rate
    first = plan.requests / rate + turn
    return Forecast(first=first, end=first + (cycles - 1) * turn)


def is_enough(positions: int, seconds: float, least: int) -> bool:
    """Whether the base was asked at enough held-out positions: ``least``, and as many more as fit
    into half a minute."""
    return positions >= least and seconds >= _MEASURE_SECONDS


def service_settings(plan: Plan) -> dict[str, object]:
    """A 90-minute cycle in miniature: small windows, short canaries. Keys of `Config`; of sections
    key -> value."""
    return {
        # The environment may name the database of a real service.
        "database": "embedded",
        "engine": {"slots": 4, "context_length": 768, "threads": plan.threads},
        "learn": {
            "held_back_share": HELD_BACK,
            "max_rows": plan.train,
            "max_held_back": plan.cases,
            "max_scored": plan.scored,
            # Small steps: with so few rows to learn from, an update that changes many answers is
            # worse nearly as often as better.
            "learning_rate": 3e-5,
            "threads": plan.threads,
            "nodes": 512,
            "probes": 4,
            # Four developers: each is a quarter of all there is.
            "user_share": 0.5,
        },
        # The demo starts its cycles itself, when developers have reacted often enough.
        "cycle": {
            "every": 86_400.0,
            "min_feedback": 1_000_000,
            "rest": 0.0,
            "poll": 0.5,
        },
        # One-sided, an equal candidate passes once in twenty cycles; six changes that are all for
        # the better are chance once in 64.
        # Half a dozen accepted completions cannot show that 95% are kept: here the reward decides
        # what is said.
        "gate": {
            "cases": plan.cases,
            "confidence": 0.9,
            "min_changed": 6,
            "keep_accepted": 0.0,
        },
        "canary": {
            "steps": [0.5],
            "step_seconds": 5.0,
            "unit": "reward",
            "lowest": -0.25,
            "highest": 0.75,
            # A dozen rewards of four users say next to nothing: the gate has judged, and here only
            # proven harm counts.
            "margin": 0.9,
            "max_rewards": 10,
            "max_seconds": 30.0,
            "longest_seconds": 30.0,
            "min_rewards": 6,
        },
    }
